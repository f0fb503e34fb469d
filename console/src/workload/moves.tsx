import { Button, Modal, Slider, TextInput } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import type { CallOf } from '../../../src/api/index.ts';
import { useMay } from '../app/me.ts';
import { useAct } from '../parts/act.tsx';
import { Mark, Sentence } from '../parts/marks.tsx';
import { Problem } from '../parts/states.tsx';
import { Confirmations } from '../release/confirmations.tsx';
import { counted, percent } from '../parts/words.ts';
import type { WorkloadDetail } from './index.tsx';
import { usePreflight } from './readiness.ts';

type Stage = CallOf<'rollouts.move'>['body']['to'];
interface Move {
  readonly to: Stage;
  readonly label: string;
}

/** The steps that there are from each stage: one forward, or back; as src/rollout/stages.ts has them. */
const STEPS: Readonly<Record<Stage, readonly Move[]>> = {
  draft: [{ to: 'shadow', label: 'Promote to shadow' }],
  shadow: [
    { to: 'canary', label: 'Promote to canary' },
    { to: 'draft', label: 'Back to draft' },
  ],
  canary: [
    { to: 'enforced', label: 'Promote to enforced' },
    { to: 'canary', label: 'Change the share' },
    { to: 'shadow', label: 'Back to shadow' },
  ],
  enforced: [{ to: 'shadow', label: 'Back to shadow' }],
};

/** What a step will do, before it is taken. */
function effectOf(of: WorkloadDetail, to: Stage, share: number): string {
  const { points, stage, hasOlderSet, flips } = of;
  const proxies = counted(points, 'proxy', 'proxies');
  const denied =
    flips === 0
      ? 'No access that was seen would be denied by it.'
      : `${counted(flips, 'access', 'accesses')} that ${flips === 1 ? 'was' : 'were'} seen would be denied.`;
  const before = hasOlderSet && stage !== 'enforced' ? ' The set that is in force stays in force.' : '';
  switch (to) {
    case 'draft':
      return `Proxies take the policies out of shadow; nothing is denied by them.`;
    case 'shadow':
      return stage === 'draft'
        ? `${proxies} will judge every request by the policies, and report what they would deny. Nothing is denied.${before}`
        : `${proxies} will go on judging, and deny nothing by these policies any more.${stage === 'enforced' ? ' Nothing is enforced for the workload then.' : before}`;
    case 'canary':
      return `About ${percent(share)} of ${proxies} will deny what no rule allows. It widens by itself, and falls back when accesses known to be good are denied. ${denied}`;
    case 'enforced':
      return `${proxies}: what no rule allows is denied. ${denied}`;
  }
}

/** Promote or take back, with what it will do said before. */
export function Moves({ of }: { readonly of: WorkloadDetail }) {
  const may = useMay()('rollouts.move');
  const [asked, setAsked] = useState<Move>();
  const [change, setChange] = useState<string>();
  const { rollout, canary } = of;
  if (rollout === undefined || rollout.target.length === 0)
    return (
      <div className="dim">
        No policy protects it. Review what its evidence proposes:{' '}
        <Link to="/review/$workload" params={{ workload: of.id.slice('spiffe://'.length) }}>
          Review
        </Link>
      </div>
    );
  return (
    <div className="stack" style={{ gap: 8 }}>
      <div className="steps">
        {STEPS[rollout.stage].map((move, i) => (
          <Button
            key={move.to}
            size="compact-sm"
            variant={i === 0 && rollout.stage !== 'enforced' ? 'filled' : 'default'}
            disabled={!may}
            title={may ? undefined : 'needs the role operator'}
            onClick={() => setAsked(move)}
          >
            {move.label}
          </Button>
        ))}
        {canary === undefined ? null : <span className="dim">{canaryText(canary)}</span>}
      </div>
      {change === undefined ? null : <Confirmations change={change} what="Moved" />}
      <Modal
        opened={asked !== undefined}
        onClose={() => setAsked(undefined)}
        title={asked?.label}
        lockScroll={false}
        transitionProps={{ duration: 0 }}
        size="lg"
      >
        {asked === undefined ? null : (
          <Ask
            of={of}
            move={asked}
            version={rollout.version}
            onClose={() => setAsked(undefined)}
            onMoved={setChange}
          />
        )}
      </Modal>
    </div>
  );
}

function canaryText(next: NonNullable<WorkloadDetail['canary']>): string {
  switch (next.kind) {
    case 'wait':
      return `The canary waits: ${next.why}`;
    case 'widen':
      return `The canary widens to ${percent(next.share)} next.`;
    case 'enforce':
      return 'The canary covers everything and may be enforced.';
    case 'fall-back':
      return `The canary falls back: ${next.why}`;
  }
}

interface AskProps {
  readonly of: WorkloadDetail;
  readonly move: Move;
  readonly version: string;
  readonly onClose: () => void;
  readonly onMoved: (change: string) => void;
}

/** Why, and what was missing where it is done anyway: both stand in the audit log. */
function reasonOf(why: string, failed: readonly { readonly check: string }[]) {
  if (why === '') return {};
  return failed.length === 0
    ? { why }
    : { anyway: { reason: why, missing: failed.map(({ check }) => check) } };
}

function Ask({ of, move: { to, label }, version, onClose, onMoved }: AskProps) {
  const [why, setWhy] = useState('');
  const [share, setShare] = useState(of.share !== undefined && of.share > 0 ? of.share : 0.1);
  const { checks, error } = usePreflight(of.id);
  const isForward = to === 'canary' || to === 'enforced';
  const failed = isForward ? (checks ?? []).filter((each) => each.state === 'failed') : [];
  // What is not known yet is not passed; where it cannot be known, that is said, and going back never waits for it.
  const isOpen = isForward && checks === undefined;
  const move = useAct(
    'rollouts.move',
    () => undefined,
    ({ change }) => {
      onMoved(change);
      onClose();
    },
  );
  const go = () =>
    move.mutate({
      given: {
        params: { workload: of.id },
        body: { to, ...(to === 'canary' ? { share } : {}), ...reasonOf(why.trim(), failed) },
      },
      ifMatch: version,
    });
  return (
    <form
      className="stack"
      onSubmit={(event) => {
        event.preventDefault();
        go();
      }}
    >
      <div>{effectOf(of, to, share)}</div>
      {to === 'canary' ? (
        <div style={{ padding: '0 8px 20px' }}>
          <Slider
            thumbLabel="Share of the proxies"
            min={0.05}
            max={1}
            step={0.05}
            value={share}
            onChange={setShare}
            label={percent}
            marks={[0.1, 0.25, 0.5, 1].map((value) => ({ value, label: percent(value) }))}
          />
        </div>
      ) : null}
      {isOpen && error !== null ? <Problem error={error} /> : null}
      {failed.length === 0 ? null : (
        <div className="stack tight">
          <Mark is="would-deny">{counted(failed.length, 'check')} not passed</Mark>
          {failed.map((each) => (
            <div key={each.check} className="break">
              {each.check}: {each.have}
              {each.state === 'failed' ? (
                <span className="dim">
                  ; <Sentence text={each.what} />
                </span>
              ) : null}
            </div>
          ))}
        </div>
      )}
      <TextInput
        data-autofocus
        label={failed.length === 0 ? 'Why (for the audit log)' : 'Why, with checks that are not passed'}
        required={failed.length > 0}
        value={why}
        maxLength={1000}
        onChange={(event) => setWhy(event.currentTarget.value)}
      />
      <div className="row">
        <Button
          type="submit"
          loading={move.isPending}
          disabled={(isOpen && error === null) || ((failed.length > 0 || isOpen) && why.trim() === '')}
        >
          {failed.length === 0 ? label : `${label} anyway`}
        </Button>
        <Button variant="default" onClick={onClose}>
          Cancel
        </Button>
      </div>
    </form>
  );
}

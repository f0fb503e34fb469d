import { Button, Slider, TextInput } from '@mantine/core';
import { useState } from 'react';
import { useMay } from '../app/me.ts';
import { useAct } from '../parts/act.tsx';
import { Mark } from '../parts/marks.tsx';
import { Problem } from '../parts/states.tsx';
import { counted, percent } from '../parts/words.ts';
import { CheckLines } from './checks.tsx';
import type { WorkloadDetail } from './index.tsx';
import type { Move, StageName } from './moves.tsx';
import { isForward, missingOf, useGates } from './readiness.ts';

/** What a step will do, before it is taken. */
export function effectOf(
  { points, stage, hasOlderSet, flips }: Pick<WorkloadDetail, 'points' | 'stage' | 'hasOlderSet' | 'flips'>,
  to: StageName,
  share: number,
): string {
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

interface Props {
  readonly of: WorkloadDetail;
  readonly move: Move;
  readonly rollout: NonNullable<WorkloadDetail['rollout']>;
  readonly onClose: () => void;
  readonly onMoved: (change: string) => void;
}

/** One step: what it does, what is not passed, and why it is taken all the same. Both reasons stand in the audit log. */
export function MoveForm({ of, move: { to, label }, rollout, onClose, onMoved }: Props) {
  const mayGoOn = useMay()('reviews.approve');
  const [why, setWhy] = useState('');
  const [share, setShare] = useState(rollout.share > 0 ? rollout.share : 0.1);
  const { gates, error } = useGates(of.id);
  const isGated = isForward(rollout, to, share);
  const missing = isGated ? missingOf(gates ?? []) : [];
  // What is not known yet is not passed; going back never waits for it.
  const isUnknown = isGated && gates === undefined;
  const move = useAct(
    'rollouts.move',
    () => undefined,
    ({ change }) => {
      onMoved(change);
      onClose();
    },
  );
  const reason = why.trim();
  const needsReason = missing.length > 0 || (isUnknown && error !== null);
  const go = () =>
    move.mutate({
      given: {
        params: { workload: of.id },
        body: {
          to,
          ...(to === 'canary' ? { share } : {}),
          ...(reason === '' ? {} : needsReason ? { anyway: reason } : { why: reason }),
        },
      },
      ifMatch: rollout.version,
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
      {isUnknown ? error === null ? <div className="dim">Checking...</div> : <Problem error={error} /> : null}
      {isGated && gates !== undefined && missing.length === 0 ? (
        <Mark is="allowed">All {gates.length} checks are passed.</Mark>
      ) : null}
      {missing.length === 0 ? null : (
        <div className="stack tight">
          <Mark is="would-deny">{counted(missing.length, 'check')} not passed: it would be refused</Mark>
          <CheckLines checks={missing} workload={of.id} />
        </div>
      )}
      {needsReason && !mayGoOn ? (
        <div>Going on all the same needs the role approver: do what the checks say, or ask one.</div>
      ) : (
        <TextInput
          data-autofocus
          label={needsReason ? 'Why, with checks that are not passed' : 'Why (for the audit log)'}
          required={needsReason}
          value={why}
          maxLength={1000}
          onChange={(event) => setWhy(event.currentTarget.value)}
        />
      )}
      <div className="row">
        <Button
          type="submit"
          {...(needsReason ? { color: 'red' } : {})}
          loading={move.isPending}
          disabled={(isUnknown && error === null) || (needsReason && (!mayGoOn || reason === ''))}
        >
          {needsReason ? `${label} anyway` : label}
        </Button>
        <Button variant="default" onClick={onClose}>
          Cancel
        </Button>
      </div>
    </form>
  );
}

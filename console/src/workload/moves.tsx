import { Button, Modal } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import type { CallOf } from '../../../src/api/index.ts';
import { useMay } from '../app/me.ts';
import { Confirmations } from '../release/confirmations.tsx';
import { percent } from '../parts/words.ts';
import { Hold } from './hold.tsx';
import type { WorkloadDetail } from './index.tsx';
import { MoveForm } from './move-form.tsx';

export type StageName = CallOf<'rollouts.move'>['body']['to'];

/** One step that may be taken. */
export interface Move {
  readonly to: StageName;
  readonly label: string;
}

/** The steps that there are from each stage: one forward, or back; as src/rollout/stages.ts has them. */
const STEPS: Readonly<Record<StageName, readonly Move[]>> = {
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
      <Hold of={of} rollout={rollout} />
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
          <MoveForm
            of={of}
            move={asked}
            rollout={rollout}
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

import { Button, Modal, TextInput } from '@mantine/core';
import { useState } from 'react';
import { useMay } from '../app/me.ts';
import { useAct } from '../parts/act.tsx';
import { Mark, When } from '../parts/marks.tsx';
import type { WorkloadDetail } from './index.tsx';

interface Props {
  readonly of: WorkloadDetail;
  readonly rollout: NonNullable<WorkloadDetail['rollout']>;
}

/** What moves by itself, and what keeps it from that. */
export function Hold({ of, rollout: { held, stage } }: Props) {
  const may = useMay()('rollouts.hold');
  const [isAsked, setAsked] = useState(false);
  const goOn = useAct('rollouts.hold', () => 'It may move forward by itself again.');
  const title = may ? undefined : 'needs the role operator';
  if (held !== undefined)
    return (
      <div className="row">
        <Mark is="would-deny">held: does not move forward by itself</Mark>
        <span className="dim break">
          by {held.by}, <When at={held.at} />: {held.why}
        </span>
        <Button
          size="compact-xs"
          variant="default"
          disabled={!may}
          title={title}
          loading={goOn.isPending}
          onClick={() => goOn.mutate({ given: { params: { workload: of.id }, body: { why: null } } })}
        >
          Let it go on
        </Button>
      </div>
    );
  // From shadow on experiments are promoted by the control plane; a canary of any tier widens by itself.
  const movesItself = stage === 'canary' || (of.tier === 'experimental' && stage === 'shadow');
  if (!movesItself) return null;
  return (
    <div className="row">
      <span className="dim">
        {stage === 'canary'
          ? 'It widens by itself while nothing known to be good is denied.'
          : 'Experimental: it goes on to canary by itself once every check is passed.'}
      </span>
      <Button
        size="compact-xs"
        variant="default"
        disabled={!may}
        title={title}
        onClick={() => setAsked(true)}
      >
        Hold
      </Button>
      <Modal
        opened={isAsked}
        onClose={() => setAsked(false)}
        title="Hold it where it is"
        lockScroll={false}
        transitionProps={{ duration: 0 }}
      >
        <Ask workload={of.id} onClose={() => setAsked(false)} />
      </Modal>
    </div>
  );
}

function Ask({ workload, onClose }: { readonly workload: string; readonly onClose: () => void }) {
  const [why, setWhy] = useState('');
  const hold = useAct('rollouts.hold', () => 'It is held.', onClose);
  return (
    <form
      className="stack"
      onSubmit={(event) => {
        event.preventDefault();
        hold.mutate({ given: { params: { workload }, body: { why: why.trim() } } });
      }}
    >
      <div>It stays in its stage until somebody lets it go on. A fall-back is not held up.</div>
      <TextInput
        data-autofocus
        required
        label="Why"
        value={why}
        maxLength={1000}
        onChange={(event) => setWhy(event.currentTarget.value)}
      />
      <div className="row">
        <Button type="submit" loading={hold.isPending} disabled={why.trim() === ''}>
          Hold
        </Button>
        <Button variant="default" onClick={onClose}>
          Cancel
        </Button>
      </div>
    </form>
  );
}

import { Button, Modal } from '@mantine/core';
import { useState } from 'react';
import type { Received } from '../../../src/api/index.ts';
import { useMay } from '../app/me.ts';
import { useAct } from '../parts/act.tsx';
import { When } from '../parts/marks.tsx';
import { counted, scopeText } from '../parts/words.ts';
import type { Followed } from './index.tsx';

type Release = Received<'releases.list'>['releases'][number];

interface Props {
  readonly releases: readonly Release[];
  readonly onArmed: (followed: Followed) => void;
}

/** Releases in force, each with the way to end it. */
export function InForce({ releases, onArmed }: Props) {
  const may = useMay()('releases.arm');
  const [asked, setAsked] = useState<Release | 'all'>();
  const arm = useAct(
    'releases.arm',
    ({ ended }) => `${counted(ended.length, 'release')} ended: policies are enforced again.`,
    ({ change }) => onArmed({ change, what: 'Armed' }),
  );
  return (
    <section className="panel" id="releases">
      <div className="row spread">
        <h2>Releases in force</h2>
        {releases.length > 1 ? (
          <Button size="compact-xs" variant="default" disabled={!may} onClick={() => setAsked('all')}>
            Arm all
          </Button>
        ) : null}
      </div>
      {releases.length === 0 ? (
        <div className="dim">None: every policy is enforced as far as its stage says.</div>
      ) : (
        releases.map((release) => (
          <div
            key={release.id}
            className="row spread"
            style={{ padding: '6px 0', borderTop: '1px solid var(--line)' }}
          >
            <div>
              <strong>{scopeText(release.scope)}</strong>: <span className="break">{release.reason}</span>
              <div className="dim">
                {release.by}, <When at={release.at} />; ends{' '}
                {release.until === undefined ? 'when it is armed' : <When at={release.until} />}
              </div>
            </div>
            <Button
              size="compact-sm"
              variant="default"
              title="Enforce again"
              disabled={!may}
              onClick={() => setAsked(release)}
            >
              Arm
            </Button>
          </div>
        ))
      )}
      <Modal
        opened={asked !== undefined}
        onClose={() => setAsked(undefined)}
        title="Enforce again?"
        lockScroll={false}
        transitionProps={{ duration: 0 }}
      >
        <div className="stack">
          <div>
            {asked === 'all'
              ? 'Every release'
              : `The release of ${asked === undefined ? '' : scopeText(asked.scope)}`}{' '}
            ends at once: what policies deny there is denied again.
          </div>
          <div className="row">
            <Button
              data-autofocus
              onClick={() => {
                arm.mutate({
                  given: { body: asked === undefined || asked === 'all' ? {} : { id: asked.id } },
                });
                setAsked(undefined);
              }}
            >
              Arm
            </Button>
            <Button variant="default" onClick={() => setAsked(undefined)}>
              Cancel
            </Button>
          </div>
        </div>
      </Modal>
    </section>
  );
}

import { Button, Checkbox, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { useMay } from '../app/me.ts';
import { read } from '../api/query.ts';
import { useAct } from '../parts/act.tsx';
import { Sentence } from '../parts/marks.tsx';
import { counted } from '../parts/words.ts';
import { type Known, toAcknowledge } from './readiness.ts';

/** Most of it that is listed at a time. */
const MOST = 50;

/** What nobody can mend by a rule, to be taken note of; doubts that a rule can allow are decided in the review. */
export function Acknowledge({ workload }: { readonly workload: string }) {
  const readiness = useQuery(read('readiness.get', { params: { workload } }));
  const proposal = useQuery(read('proposals.get', { params: { workload } }));
  // Without evidence there is nothing to be known yet: the checks say that.
  if (readiness.data === undefined || proposal.data === undefined) return null;
  const withRule = new Set(proposal.data.doubts.flatMap(({ id, rule }) => (rule === undefined ? [] : [id])));
  const known = toAcknowledge(readiness.data.readiness, withRule);
  const open = readiness.data.readiness.doubts.filter(
    ({ id, decidedBy }) => decidedBy === undefined && withRule.has(id),
  );
  return (
    <>
      {open.length === 0 ? null : (
        <div className="panel">
          {counted(open.length, 'doubt')} to decide:{' '}
          <Link to="/review/$workload" params={{ workload: workload.slice('spiffe://'.length) }}>
            Review
          </Link>
        </div>
      )}
      {known.length === 0 ? null : <Form workload={workload} known={known} />}
    </>
  );
}

function Form({ workload, known }: { readonly workload: string; readonly known: readonly Known[] }) {
  const may = useMay()('reviews.acknowledge');
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [reason, setReason] = useState('');
  const act = useAct(
    'reviews.acknowledge',
    () => 'Noted.',
    () => {
      setChosen(new Set());
      setReason('');
    },
  );
  const ids = known.filter(({ id }) => chosen.has(id)).map(({ id }) => id);
  const turn = (id: string) =>
    setChosen(new Set(chosen.has(id) ? [...chosen].filter((each) => each !== id) : [...chosen, id]));
  return (
    <form
      className="panel stack"
      style={{ gap: 8 }}
      onSubmit={(event) => {
        event.preventDefault();
        act.mutate({ given: { params: { workload }, body: { ids, reason: reason.trim() } } });
      }}
    >
      <h2>What the evidence cannot show {known.length}</h2>
      {known.slice(0, MOST).map(({ id, what, toDo }) => (
        <Checkbox
          key={id}
          size="xs"
          disabled={!may}
          checked={chosen.has(id)}
          onChange={() => turn(id)}
          label={
            <span className="break">
              <Sentence text={what} />
              {toDo === '' ? null : (
                <span className="dim">
                  {' '}
                  <Sentence text={toDo} />
                </span>
              )}
            </span>
          }
        />
      ))}
      {known.length > MOST ? <div className="dim">and {known.length - MOST} more after these</div> : null}
      <div className="row" style={{ alignItems: 'end' }}>
        <TextInput
          size="xs"
          label="Why it is known and may stay"
          value={reason}
          maxLength={1000}
          disabled={!may}
          onChange={(event) => setReason(event.currentTarget.value)}
          style={{ flex: 1 }}
        />
        <Button
          type="submit"
          size="compact-sm"
          loading={act.isPending}
          disabled={!may || ids.length === 0 || reason.trim() === ''}
          title={may ? undefined : 'needs the role approver'}
        >
          Acknowledge {ids.length}
        </Button>
      </div>
    </form>
  );
}

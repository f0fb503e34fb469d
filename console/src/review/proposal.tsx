import { Button, Checkbox } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import type { Received } from '../../../src/api/index.ts';
import type { AccessPolicy, Rule } from '../../../src/policy/types.ts';
import { useMay } from '../app/me.ts';
import { policiesOf, read } from '../api/query.ts';
import { useAct } from '../parts/act.tsx';
import { Copy, Id, Mark, type Meaning } from '../parts/marks.tsx';
import { RuleText } from '../parts/rule.tsx';
import { Empty, Loaded } from '../parts/states.tsx';
import { counted, shortId } from '../parts/words.ts';
import { Confirmations } from '../release/confirmations.tsx';
import { Evidence } from '../workload/policy.tsx';
import { changesOf, chosenPolicy, type RuleChange, textOf } from './diff.ts';

type Shown = Received<'proposals.get'>;

/** The proposal for a workload against its target. */
export function Proposal({ workload }: { readonly workload: string }) {
  const proposal = useQuery(read('proposals.get', { params: { workload } }));
  const policies = useQuery(policiesOf(workload));
  return (
    <Loaded of={proposal}>
      {(shown) => (
        <Loaded of={policies}>
          {({ policies: all }) =>
            shown.policy === undefined ? (
              <Nothing shown={shown} />
            ) : (
              <Decide
                shown={shown}
                proposed={shown.policy}
                target={
                  all.find(
                    ({ sets, name }) => sets.includes('target') && name === shown.policy?.metadata.name,
                  )?.document
                }
              />
            )
          }
        </Loaded>
      )}
    </Loaded>
  );
}

function Nothing({ shown: { workload, remarks } }: { readonly shown: Shown }) {
  return (
    <Empty
      what={`The evidence of ${shortId(workload)} proposes no rule.`}
      todo={remarks.map(({ what }) => what).join(' ') || 'Nobody was seen to call it.'}
    />
  );
}

interface DecideProps {
  readonly shown: Shown;
  readonly proposed: AccessPolicy;
  readonly target: AccessPolicy | undefined;
}

const FORMS: Readonly<Record<RuleChange['change'], readonly [Meaning, string]>> = {
  new: ['fresh', 'new'],
  changed: ['fresh', 'changed'],
  same: ['plain', 'as it is'],
  gone: ['would-deny', 'not seen: taken out'],
};

function Decide({ shown, proposed, target }: DecideProps) {
  const may = useMay()('policies.apply');
  const changes = changesOf(target, proposed);
  // What differs from the proposal's own answer: doubts are out and rules are in, until a person says otherwise.
  const [turned, setTurned] = useState<ReadonlySet<string>>(new Set());
  const turn = (key: string) =>
    setTurned(new Set(turned.has(key) ? [...turned].filter((each) => each !== key) : [...turned, key]));
  const [change, setChange] = useState<string>();
  const apply = useAct(
    'policies.apply',
    ({ created, changed }) =>
      created.length + changed.length === 0
        ? 'Nothing has changed.'
        : `The target has ${[...created, ...changed].join(', ')}.`,
    ({ change: id }) => {
      setChange(id);
      setTurned(new Set());
    },
  );
  const isIn = ({ change: kind, rule }: RuleChange) => (kind === 'gone') === turned.has(rule.name);
  const chosen: Rule[] = [
    ...changes.filter(isIn).map(({ rule }) => rule),
    ...shown.doubts.flatMap(({ id, rule }) => (rule !== undefined && turned.has(id) ? [rule] : [])),
  ];
  const policy = chosenPolicy(target, proposed, chosen);
  const differs = target === undefined || saysOf(target) !== saysOf(policy);
  return (
    <div className="stack">
      <section className="panel">
        <div className="row spread">
          <h2>
            <Link to="/workloads/$workload" params={{ workload: shown.workload.slice('spiffe://'.length) }}>
              <Id id={shown.workload} />
            </Link>
          </h2>
          <div className="row">
            <span className="dim">
              {counted(shown.covered.accesses, 'access', 'accesses')} in{' '}
              {counted(shown.covered.calls, 'call')}; tier {policy.spec.tier}
            </span>
            <Copy text={JSON.stringify(policy, undefined, 2)} what="the document" />
          </div>
        </div>
        {changes.map((each) => (
          <div className="rule" key={each.rule.name}>
            <Checkbox
              size="xs"
              aria-label={`Allow ${each.rule.name}`}
              checked={isIn(each)}
              onChange={() => turn(each.rule.name)}
            />
            <div>
              <div className="row">
                <strong>{each.rule.name}</strong>
                <Mark is={FORMS[each.change][0]}>{FORMS[each.change][1]}</Mark>
              </div>
              <RuleText rule={each.rule} />
            </div>
            <Evidence of={shown.rules.find(({ rule }) => rule === each.rule.name)} />
          </div>
        ))}
      </section>
      <Doubts doubts={shown.doubts} chosen={turned} onTurn={turn} />
      {shown.remarks.length === 0 ? null : (
        <section className="panel">
          <h2>Remarks</h2>
          {shown.remarks.map(({ what }) => (
            <div key={what}>{what}</div>
          ))}
        </section>
      )}
      <section className="panel stack" style={{ gap: 8 }}>
        <div>
          {!differs
            ? 'The target says this already.'
            : `The target will have ${counted(chosen.length, 'rule')}. ${target === undefined ? 'It begins in draft: nothing is judged by it until it is promoted to shadow.' : 'It starts again in shadow; the set that is in force stays in force.'} Nothing is denied by it before it is promoted.`}
        </div>
        <div className="row">
          <Button
            disabled={!may || !differs}
            loading={apply.isPending}
            title={may ? undefined : 'needs the role operator'}
            onClick={() =>
              apply.mutate({ given: { body: { yaml: JSON.stringify(policy), file: 'review' } } })
            }
          >
            Apply to the target
          </Button>
          {may ? null : <span className="dim">You need the role operator.</span>}
        </div>
        {change === undefined ? null : <Confirmations change={change} what="Applied" />}
      </section>
    </div>
  );
}

const saysOf = ({ spec }: AccessPolicy) => JSON.stringify(spec.rules.map(textOf));

interface DoubtsProps extends Pick<Shown, 'doubts'> {
  readonly chosen: ReadonlySet<string>;
  readonly onTurn: (id: string) => void;
}

/** What a person has to decide: never taken in by itself. */
function Doubts({ doubts, chosen, onTurn }: DoubtsProps) {
  if (doubts.length === 0) return null;
  return (
    <section className="panel">
      <h2>Doubts: {counted(doubts.length, 'access', 'accesses')} that only a person can allow</h2>
      {doubts.map(({ id, from, action, reasons, rule, evidence }) => (
        <div className="rule" key={id} style={{ gridTemplateColumns: '26px minmax(0, 1fr)' }}>
          <Checkbox
            size="xs"
            aria-label={`Allow ${action} from ${from}`}
            disabled={rule === undefined}
            checked={chosen.has(id)}
            onChange={() => onTurn(id)}
          />
          <div className="break">
            <div>
              <Id id={from} /> <code>{action}</code>{' '}
              <span className="dim">{counted(evidence.count, 'call')}</span>
            </div>
            <Mark is="would-deny">{reasons.join('; ')}</Mark>
          </div>
        </div>
      ))}
    </section>
  );
}

import { useQuery } from '@tanstack/react-query';
import { read } from '../api/query.ts';
import type { Answer } from '../../../src/api/index.ts';
import { Ends, type EndsOf, useEnds } from '../parts/ends.tsx';
import { AccessState, Mark, When } from '../parts/marks.tsx';
import { Loaded } from '../parts/states.tsx';
import { counted, number } from '../parts/words.ts';

type Access = Answer<'accesses.list'>['accesses'][number];
type Verdict = NonNullable<Access['target']>;

/** The accesses of one pair, each with what it rests on. */
export function Accesses({ from, to }: { readonly from: string; readonly to: string }) {
  // A trailing "*" would be read as "all that begin so".
  const accesses = useQuery(read('accesses.list', { query: { from, to, limit: 500 } }));
  const endsOf = useEnds();
  return (
    <section>
      <h2>Accesses</h2>
      <Loaded of={accesses}>
        {({ accesses: list, total }) => (
          <>
            {list.map((access) => (
              <OneAccess key={access.id} access={access} endsOf={endsOf} isOpen={list.length <= 3} />
            ))}
            {total > list.length ? <div className="dim">{number(total - list.length)} more.</div> : null}
          </>
        )}
      </Loaded>
    </section>
  );
}

interface OneProps {
  readonly access: Access;
  readonly endsOf: EndsOf;
  readonly isOpen: boolean;
}

function OneAccess({ access, endsOf, isOpen }: OneProps) {
  const {
    text,
    state,
    authentication,
    count,
    views,
    firstSeen,
    lastSeen,
    days,
    hoursOfWeek,
    instances,
    sources,
  } = access;
  const { ok, error, failed, denied } = access.outcomes;
  const exception = endsOf(access.to, access.target);
  return (
    <details className="map-access" open={isOpen}>
      <summary>
        <code>{text}</code> <AccessState state={state} />{' '}
        {authentication === 'plaintext' ? <Mark is="plaintext">not mutually authenticated</Mark> : null}
      </summary>
      <dl className="facts">
        <Fact name="Calls">
          {number(count)} let through ({number(ok)} answered, {number(error)} errors, {number(failed)}{' '}
          failed), {number(denied)} denied
        </Fact>
        <Fact name="Seen">
          {firstSeen === lastSeen ? null : (
            <>
              <When at={firstSeen} /> to{' '}
            </>
          )}
          <When at={lastSeen} />
          {/* Days and hours are those of calls that were let through. */}
          {days === 0
            ? null
            : `, on ${counted(days, 'day')}, in ${number(hoursOfWeek.length)} of 168 hours of the week`}
        </Fact>
        <Fact name="Identity">
          {number(access.mutual)} with mutual TLS, {number(access.plaintext)} in plain text
        </Fact>
        <Fact name="Views">{views.join(', ')}</Fact>
        <Fact name="From">
          {counted(instances.length, 'instance')}, recorded by {sources.join(', ') || 'nobody'}
        </Fact>
        {access.declared === undefined ? null : <Fact name="Declared">{access.declared.join('; ')}</Fact>}
        <Fact name="In force">{verdictText(access.today, 'no policy is in force for the callee')}</Fact>
        <Fact name="Target">
          {verdictText(access.target)}{' '}
          {exception === undefined ? null : <Ends at={exception.ends} reason={exception.reason} />}
        </Fact>
        {access.approximate === undefined || access.approximate.length === 0 ? null : (
          <Fact name="Not exact">{access.approximate.join(', ')}</Fact>
        )}
      </dl>
    </details>
  );
}

function Fact({ name, children }: { readonly name: string; readonly children: React.ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd className="break">{children}</dd>
    </>
  );
}

function verdictText(verdict: Verdict | undefined, none = 'no policy protects the callee'): string {
  if (verdict === undefined) return none;
  const { allowed, decidedBy, rule, policy } = verdict;
  const of = policy === undefined ? '' : ` of ${policy}`;
  if (rule !== undefined) return `${allowed ? 'allowed' : 'denied'} by rule ${rule}${of}`;
  return decidedBy === 'no-rule'
    ? `denied: no rule${of} allows it`
    : `${allowed ? 'allowed' : 'denied'}: ${decidedBy}`;
}

import type { From, Rule, To } from '../../../src/policy/types.ts';
import { Id } from './marks.tsx';

function fromText(from: From): string {
  if ('workload' in from) return from.workload;
  if ('trustDomain' in from) return `everybody of ${from.trustDomain}`;
  if ('user' in from) return `user ${from.user.subject} of ${from.user.issuer}`;
  if ('group' in from) return `group ${from.group}`;
  return `without an identity, from ${from.unauthenticated.from}`;
}

function toText(to: To): string {
  const ports = to.ports === undefined ? '' : ` ${to.ports.map((port) => `:${port}`).join(' ')}`;
  if ('tcp' in to) return `tcp${ports}`;
  if ('http' in to)
    return `${to.http.methods?.join(', ') ?? 'any method'} ${to.http.paths?.join('  ') ?? 'any path'}${ports}`;
  return `${to.grpc.service}/${to.grpc.methods?.join(', ') ?? 'any method'}${ports}`;
}

/** A rule as people read it: who may do what, when. */
export function RuleText({ rule }: { readonly rule: Rule }) {
  return (
    <div className="break">
      <div>
        {rule.from.map((from, i) => (
          <span key={fromText(from)}>
            {i === 0 ? '' : ', '}
            <Id id={fromText(from)} />
          </span>
        ))}
      </div>
      {rule.to.map((to) => (
        <div key={toText(to)}>
          <code>{toText(to)}</code>
        </div>
      ))}
      {rule.when === undefined || rule.when === '' ? null : (
        <div>
          when <code>{rule.when}</code>
        </div>
      )}
    </div>
  );
}

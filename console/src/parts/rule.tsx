import type { Rule } from '../../../src/policy/types.ts';
import { Id } from './marks.tsx';
import { fromText, toText } from './rule-text.ts';

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
      {rule.until === undefined ? null : (
        <div>
          until <code>{rule.until}</code>
          {rule.reason === undefined ? '' : `: ${rule.reason}`}
        </div>
      )}
    </div>
  );
}

import type { Received } from '../../../src/api/index.ts';
import { counted, percent } from '../parts/words.ts';

export type HistoryEntry = Received<'history.get'>['entries'][number];

const ACTS: Readonly<Record<string, string>> = {
  'policy.apply': 'changed the target',
  'policy.remove': 'took a policy out of the target',
  'policy.sync': 'made the target what a repository says',
  'rollout.draft': 'moved it back to draft',
  'rollout.shadow': 'moved it to shadow',
  'rollout.canary': 'moved it to canary',
  'rollout.enforced': 'enforced it',
  'rollout.hold': 'held it where it is',
  'rollout.go-on': 'let it move by itself again',
  'rollout.tier': 'noted the tier that it is marked with',
  'authentication.strict': 'made connections strict: mutual TLS alone',
  'authentication.permissive': 'made connections permissive: plain text too',
  'review.open': 'found something to decide',
  'review.approve': 'approved',
  'review.reject': 'rejected',
  'review.deny': 'denied on purpose',
  'review.edit': 'edited the target',
  'review.ask': 'asked',
  'review.acknowledge': 'took note',
};

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(details: unknown): Fields {
  // Details of a history are objects; what is none says nothing.
  return typeof details === 'object' && details !== null && !Array.isArray(details)
    ? (details as Fields)
    : {};
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** What was done, in words: "moved it to canary, 25 %". */
export function actText({ act, details }: HistoryEntry): string {
  const { share, changes, questions } = fieldsOf(details);
  const said = ACTS[act] ?? act;
  if (act === 'rollout.canary' && typeof share === 'number') return `${said}, ${percent(share)}`;
  const many = listOf(changes).length + listOf(questions).length;
  if (act === 'review.approve' && many === 0) return `${said} the target as it is`;
  return act.startsWith('review.') && many > 0 ? `${said} ${many}` : said;
}

/** Why, as who did it has said: beside it, what was not passed then. */
export function whyText({ details }: HistoryEntry): string {
  const { why, anyway, missing, reason, text } = fieldsOf(details);
  const lacking = listOf(missing).map(textOf).join(', ');
  // An earlier program kept the reason inside.
  const gone = textOf(anyway) || textOf(fieldsOf(anyway)['reason']);
  if (gone !== '') return `anyway: ${gone}${lacking === '' ? '' : ` (not passed: ${lacking})`}`;
  return textOf(why) || textOf(reason) || textOf(text);
}

/** What it rested on: what each check found, or the evidence of each change. */
export function restsOn({ details }: HistoryEntry): string {
  const { checks, changes, missing } = fieldsOf(details);
  const lacking = new Set(listOf(missing));
  // What was not passed comes first: the rest is cut off where there is no room.
  const found = Object.entries(fieldsOf(checks))
    .sort(([a], [b]) => Number(lacking.has(b)) - Number(lacking.has(a)))
    .map(([name, what]) => `${name}: ${textOf(what)}`);
  const decided = listOf(changes).map((change) => {
    const { kind, rule, evidence } = fieldsOf(change);
    const { count, days } = fieldsOf(evidence);
    return `${textOf(kind)} ${textOf(rule)} (${counted(Number(count), 'call')}, ${counted(Number(days), 'day')})`;
  });
  return [...found, ...decided].join('; ');
}

import { InterlockError, parseSpiffeId, type SpiffeId } from '../../../access/index.ts';
import type { Received } from '../../../api/index.ts';
import type { Rule } from '../../../policy/index.ts';
import { fromText } from '../../grants.ts';
import { Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import type { ApiOptions } from '../../control/options.ts';
import type { Terminal } from '../../terminal.ts';
import { countText, dayText, plural, timeText } from '../../words.ts';

/** The review of one workload, as the control plane gives it. */
export type Review = Received<'reviews.get'>;
type Change = Review['changes'][number];

export interface DecideOptions extends ApiOptions {
  readonly target?: string;
}

/** Which target set was looked at. */
export const TARGET = new Option(
  '--target <hash>',
  'the target set that you looked at, as "review show" names it; the present one where absent',
);
export const REASON = new Option('--reason <words>', 'for the audit log').makeOptionMandatory();

export const WHOLE_JSON =
  '{workload, tier, tierReason?, stage?, owners, target, counts, approvals: {need, by, authors, notes?}, since?, lastDecision?, policies, yaml,\nchanges: [{id, kind, rule, of?, evidence, doubt?, why?, since}], questions: [{id, from, action, text, deniedBy, count, firstSeen, lastSeen, change?, deny?, since}], isCut, comments, bulk}';

/** A workload with its review, as it is now. Throws `not_found`. */
export async function look(
  { state, server }: ApiOptions,
  text: string,
): Promise<{ api: Api; workload: SpiffeId; review: Review }> {
  const workload = parseSpiffeId(text);
  const api = new Api({ state, server });
  return { api, workload, review: await api.call('reviews.get', { params: { workload } }) };
}

/** Least digits of an ID that may stand for all of it. */
const LEAST_DIGITS = 4;

/** The whole IDs of what is open, by their first digits. Throws `usage`, `not_found`. */
export function idsOf(texts: readonly string[], known: readonly { readonly id: string }[]): string[] {
  return texts.map((text) => {
    const found = text.length < LEAST_DIGITS ? [] : known.filter(({ id }) => id.startsWith(text));
    const [first, ...more] = found;
    if (first !== undefined && more.length === 0) return first.id;
    if (text.length < LEAST_DIGITS)
      throw new InterlockError(
        'usage',
        text,
        `"${text}" is too short: give at least ${LEAST_DIGITS} digits of an ID`,
      );
    throw first === undefined
      ? new InterlockError(
          'not_found',
          text,
          `nothing open has the ID "${text}": "interlock review show" lists what is`,
        )
      : new InterlockError('usage', text, `"${text}" stands for ${found.length} of them: give more digits`);
  });
}

/** What is open about one workload, and who has decided what. */
export function tellReview(terminal: Terminal, review: Review): void {
  const { workload, tier, tierReason, stage, owners, target, changes, questions, comments, isCut } = review;
  terminal.line(workload);
  terminal.line(`${tier}, ${stage ?? 'no policy yet'}; owners: ${owners.join(', ') || 'nobody named'}`);
  if (tierReason !== undefined) terminal.prose(`It is ${tierReason}.`);
  terminal.line(`target ${target}: ${approvalText(review)}`);
  if (changes.length > 0) {
    terminal.line();
    terminal.heading('CHANGES');
    terminal.listing([
      ['ID', 'CHANGE', 'FROM', 'MAY', 'EVIDENCE', 'DOUBTS'],
      ...changes.map((change) => [
        change.id.slice(0, 8),
        change.of === undefined ? change.kind : `${change.kind} ${change.of.rule}`,
        change.rule.from.map(fromText).join(', '),
        toText(change.rule),
        evidenceText(change),
        change.doubt?.reasons.join('; ') ?? change.why ?? '',
      ]),
    ]);
    if (isCut) terminal.prose('There are more: decide on these first.');
  }
  if (questions.length > 0) {
    terminal.line();
    terminal.heading('QUESTIONS: allowed today, and the target would deny it');
    terminal.listing([
      ['ID', 'FROM', 'DOES', 'DENIED BY', 'CALLS', 'LAST', 'ALLOWED BY CHANGE'],
      ...questions.map((each) => [
        each.id.slice(0, 8),
        each.from,
        each.text,
        each.deniedBy.rule ?? each.deniedBy.decidedBy,
        countText(each.count),
        timeText(each.lastSeen),
        each.change?.slice(0, 8) ?? '-',
      ]),
    ]);
  }
  if (comments.length > 0) {
    terminal.line();
    terminal.heading('COMMENTS');
    for (const { by, at, text, about } of comments)
      terminal.prose(
        `${timeText(at)} ${by}${about === undefined ? '' : ` on ${about.slice(0, 8)}`}: ${text}`,
      );
  }
  terminal.line();
  terminal.prose(nextText(review));
}

/** How far the approvals of the present target are. */
export function approvalText({ approvals: { need, by, notes = [] } }: Pick<Review, 'approvals'>): string {
  if (need === 0) return 'needs no approval';
  const who = by.length === 0 ? 'nobody' : by.map((each) => each.who).join(', ');
  const aside = notes.map((note) => `; ${note}`).join('');
  return `${by.length} of ${plural(need, 'approval')} (${who})${aside}`;
}

function nextText({ workload, changes, questions, bulk, approvals: { need, by } }: Review): string {
  if (questions.length > 0)
    return `Answer each question: approve the change that allows it, or "interlock review deny", or "interlock review reject".`;
  if (changes.some(({ doubt }) => doubt === undefined)) return `interlock review approve ${workload} --all`;
  if (changes.length > 0)
    return `What is left are doubts${bulk ? '' : ', each for an owner alone'}: interlock review approve ${workload} ID`;
  return by.length < need
    ? `Nothing is open. The target needs an approval: interlock review approve ${workload}`
    : 'Nothing is open.';
}

function evidenceText({ evidence }: Change): string {
  const { count, days, instances, declared, lastSeen } = evidence;
  if (count === 0) return declared.length > 0 ? `declared: ${declared[0]}` : 'none';
  const last = lastSeen === undefined ? '' : `, last ${dayText(lastSeen)}`;
  return `${plural(count, 'call')} on ${plural(days, 'day')}, ${plural(instances.length, 'instance')}${last}`;
}

/** What a rule is about, in one cell. */
export function toText({ to }: Pick<Rule, 'to'>): string {
  return to
    .map((each) => {
      const at = each.ports === undefined ? '' : ` :${each.ports.join(',')}`;
      if ('tcp' in each) return `tcp${at}`;
      const any = (names: readonly string[] | undefined, word: string) => names?.join(',') ?? word;
      return 'grpc' in each
        ? `${each.grpc.service}/${any(each.grpc.methods, '*')}${at}`
        : `${any(each.http.methods, 'any')} ${any(each.http.paths, 'any path')}${at}`;
    })
    .join('; ');
}

import { actionKey, type Principal, principalText, type SpiffeId } from '../access/index.ts';
import { authorizedAccesses, compile, type Grant, type Rule } from '../policy/index.ts';
import { isDeniedOnPurpose } from './decided.ts';
import { replay } from './rehearse.ts';
import { isMaterial } from './review-evidence.ts';
import { fromOfPrincipal, judgingPolicy, toOfAction, toOfGrant } from './review-grants.ts';
import type { Change, Digest, FlipSeen, Question, Rejection } from './review-types.ts';

/** Most questions about one workload that are shown: a scanner asks thousands, and they are one matter. */
export const MOST_QUESTIONS = 200;

/** What questions are made of. */
export interface QuestionsInput {
  readonly workload: SpiffeId;
  /** What the target of today would change, as proxies saw it. */
  readonly flips: readonly FlipSeen[];
  readonly changes: readonly Change[];
  readonly rejected: ReadonlyMap<string, Rejection>;
  readonly digest: Digest;
}

/** The key of the rejection of a question: that it is denied is what was meant. */
export function questionKey(from: Principal, action: FlipSeen['action']): string {
  return `question ${principalText(from)} ${actionKey(action)}`;
}

/**
 * One question for each access that is allowed today and that the target would deny by oversight, the most frequent first:
 * with the change that would allow it, and the rule that would deny it on purpose.
 */
export function questionsOf({ workload, flips, changes, rejected, digest }: QuestionsInput): Question[] {
  const asked = flips.filter((flip) => isAsked(flip, workload));
  const groups = Map.groupBy(asked, ({ from, action }) => questionKey(from, action));
  const grants = grantsOf(workload, changes);
  const rules = grants.map(({ grant }, i) => ({
    name: `g${i}`,
    from: [grant.from],
    to: [toOfGrant(grant)],
  }));
  const allowing = compile([judgingPolicy(workload, rules)]);
  const questions = [...groups].flatMap(([key, own]) => {
    const [first] = own;
    if (first === undefined) return [];
    const question = asQuestion(digest(key), first, own);
    if (isClosed(rejected.get(key), question)) return [];
    const { rule } = replay(allowing, { ...question, collapsed: false }, workload).verdict;
    const found = rule === undefined ? undefined : grants[Number(rule.slice(1))];
    return [found === undefined ? question : withChange(question, found)];
  });
  return questions.sort((a, b) => b.count - a.count || (a.id < b.id ? -1 : 1)).slice(0, MOST_QUESTIONS);
}

function isAsked(flip: FlipSeen, workload: SpiffeId): boolean {
  return flip.to === workload && flip.before.allowed && !flip.after.allowed && !isDeniedOnPurpose(flip);
}

/** The flips behind {@link questionsOf}: accesses that the target would deny and that nobody has decided. */
export function undecidedFlips<Flip extends FlipSeen>(
  flips: readonly Flip[],
  workload: SpiffeId,
  rejected: ReadonlyMap<string, Rejection>,
): Flip[] {
  const asked = flips.filter((flip) => isAsked(flip, workload));
  const groups = Map.groupBy(asked, ({ from, action }) => questionKey(from, action));
  return [...groups].flatMap(([key, own]) => {
    const [first] = own;
    return first === undefined || isClosed(rejected.get(key), asQuestion('', first, own)) ? [] : own;
  });
}

function asQuestion(id: string, { from, action, after }: FlipSeen, own: readonly FlipSeen[]): Question {
  const caller = fromOfPrincipal(from);
  const deny: Rule | undefined =
    caller === undefined ? undefined : { name: `denied-${id}`, from: [caller], to: [toOfAction(action)] };
  return {
    id,
    from,
    action,
    after,
    count: own.reduce((sum, { count }) => sum + count, 0),
    firstSeen: Math.min(...own.map(({ firstSeen }) => firstSeen)),
    lastSeen: Math.max(...own.map(({ lastSeen }) => lastSeen)),
    ...(deny === undefined ? {} : { deny }),
  };
}

interface OfChange {
  readonly change: string;
  readonly grant: Grant;
}

/** What the changes would allow, combination by combination. */
function grantsOf(workload: SpiffeId, changes: readonly Change[]): OfChange[] {
  return changes
    .filter(({ kind }) => kind !== 'removed')
    .flatMap(({ id, rule }) =>
      authorizedAccesses([judgingPolicy(workload, [rule])]).map((grant) => ({ change: id, grant })),
    );
}

/** Denied is the combination that was learned, not the one path that was asked for: the next order has another number. */
function withChange(question: Question, { change, grant }: OfChange): Question {
  const { deny } = question;
  return {
    ...question,
    change,
    ...(deny === undefined ? {} : { deny: { ...deny, to: [toOfGrant(grant)] } }),
  };
}

const DAY_MS = 86_400_000;

/** What a question rests on: the days that it spans, since flips are not kept by day. */
export function questionWeight({
  count,
  firstSeen,
  lastSeen,
}: Pick<Question, 'count' | 'firstSeen' | 'lastSeen'>) {
  return { count, days: Math.floor((lastSeen - firstSeen) / DAY_MS) + 1, instances: 1 };
}

function isClosed(rejection: Rejection | undefined, question: Question): boolean {
  return rejection !== undefined && !isMaterial({ ...rejection, instances: 1 }, questionWeight(question));
}

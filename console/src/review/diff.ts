import type { AccessPolicy, Rule } from '../../../src/policy/types.ts';
import { fromText, toText } from '../parts/rule-text.ts';
import type { ReviewChange } from './items.ts';

/** One line of a diff: what comes, what goes, what stays around it. */
export interface Line {
  readonly sign: '+' | '-' | ' ';
  readonly text: string;
}

/** A rule as lines: who, what, when. */
export function ruleLines({ from, to, when, until }: Rule): readonly string[] {
  return [
    ...from.map((each) => `from ${fromText(each)}`),
    ...to.map(toText),
    ...(when === undefined || when === '' ? [] : [`when ${when}`]),
    ...(until === undefined ? [] : [`until ${until}`]),
  ];
}

/** The rule of the target that a change is about; none where it adds one. */
export function ruleOf(policies: readonly AccessPolicy[], of: ReviewChange['of']): Rule | undefined {
  if (of === undefined) return undefined;
  return policies
    .find(({ metadata }) => metadata.name === of.policy)
    ?.spec.rules.find(({ name }) => name === of.rule);
}

/** A change against the target: of a widened rule what stands in it already stays around what is new. */
export function linesOf(
  { kind, rule, of }: Pick<ReviewChange, 'kind' | 'rule' | 'of'>,
  policies: readonly AccessPolicy[],
): readonly Line[] {
  const own = ruleLines(rule);
  if (kind === 'removed') return own.map((text) => ({ sign: '-', text }));
  const before = ruleOf(policies, of);
  if (kind === 'added' || before === undefined) return own.map((text) => ({ sign: '+', text }));
  const stays = new Set(ruleLines(before));
  return [
    ...[...stays].map((text): Line => ({ sign: ' ', text })),
    ...own.filter((text) => !stays.has(text)).map((text): Line => ({ sign: '+', text })),
  ];
}

/** Longest texts that are compared line by line: the table of the comparison grows with their product. */
const MOST_LINES = 1500;

/**
 * Two texts, line by line, by their longest common subsequence. Beyond the limit what is between their common
 * beginning and end counts as replaced.
 */
export function textDiff(before: string, after: string): readonly Line[] {
  const a = linesOfText(before);
  const b = linesOfText(after);
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++;
  return [
    ...signed(' ', a.slice(0, head)),
    ...middle(a.slice(head, a.length - tail), b.slice(head, b.length - tail)),
    ...signed(' ', tail === 0 ? [] : a.slice(-tail)),
  ];
}

/** What of a diff is shown: changed lines, and so many around them. `null` stands for lines that are left out. */
export function nearChanges(lines: readonly Line[], around = 2): readonly (Line | null)[] {
  const near = new Set<number>();
  for (const [at, { sign }] of lines.entries())
    if (sign !== ' ') for (let i = at - around; i <= at + around; i++) near.add(i);
  const shown: (Line | null)[] = [];
  for (const [at, line] of lines.entries()) {
    if (near.has(at)) shown.push(line);
    else if (shown.at(-1) !== null && near.size > 0) shown.push(null);
  }
  return shown;
}

function linesOfText(text: string): readonly string[] {
  const lines = text.split('\n');
  // The end of the last line begins no other one.
  return lines.at(-1) === '' ? lines.slice(0, -1) : lines;
}

const signed = (sign: Line['sign'], texts: readonly string[]): Line[] =>
  texts.map((text) => ({ sign, text }));

function middle(a: readonly string[], b: readonly string[]): Line[] {
  if (a.length * b.length > MOST_LINES * MOST_LINES) return [...signed('-', a), ...signed('+', b)];
  // longest[i * width + j]: of a from i on and of b from j on.
  const width = b.length + 1;
  const longest = new Uint32Array((a.length + 1) * width);
  const of = (i: number, j: number) => longest[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      longest[i * width + j] = a[i] === b[j] ? of(i + 1, j + 1) + 1 : Math.max(of(i + 1, j), of(i, j + 1));
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    const [one = '', other = ''] = [a[i], b[j]];
    if (i < a.length && j < b.length && one === other) {
      lines.push({ sign: ' ', text: one });
      i++;
      j++;
    } else if (i < a.length && (j === b.length || of(i + 1, j) >= of(i, j + 1))) {
      lines.push({ sign: '-', text: one });
      i++;
    } else {
      lines.push({ sign: '+', text: other });
      j++;
    }
  }
  return lines;
}

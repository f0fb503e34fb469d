/** Cells of the table of common lines: beyond it nothing is merged. */
const MOST_CELLS = 4_000_000;

/**
 * What was changed between two texts, made of a third one, which says the same as the first line by line and is only spaced
 * in another way: its lines stay as they are wherever nothing was changed. Undefined where the lines do not go together.
 */
export function mergeLines(original: string, before: string, after: string): string | undefined {
  const lines = original.split('\n');
  const a = before.split('\n');
  const b = after.split('\n');
  if (lines.length !== a.length) return undefined;
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  const most = Math.min(a.length, b.length) - start;
  while (end < most && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const [middleA, middleB] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  if ((middleA.length + 1) * (middleB.length + 1) > MOST_CELLS) return undefined;
  const kept = commonLines(middleA, middleB);
  const middle = middleB.map((line, i) => {
    const from = kept.get(i);
    return from === undefined ? line : (lines[start + from] ?? line);
  });
  return [...lines.slice(0, start), ...middle, ...lines.slice(lines.length - end)].join('\n');
}

/** The longest common lines of two texts: by the number of each line in the second, that in the first. */
function commonLines(a: readonly string[], b: readonly string[]): Map<number, number> {
  const width = b.length + 1;
  const longest = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      longest[i * width + j] =
        a[i] === b[j]
          ? (longest[(i + 1) * width + j + 1] ?? 0) + 1
          : Math.max(longest[(i + 1) * width + j] ?? 0, longest[i * width + j + 1] ?? 0);
  const kept = new Map<number, number>();
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) kept.set(j++, i++);
    else if ((longest[(i + 1) * width + j] ?? 0) >= (longest[i * width + j + 1] ?? 0)) i++;
    else j++;
  }
  return kept;
}

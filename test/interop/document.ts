import { readFileSync, writeFileSync } from 'node:fs';

const DOCUMENT = new URL('../../docs/interop.md', import.meta.url);

/** What one script writes about its run. */
export interface Section {
  readonly command: string;
  /** Programs and versions. */
  readonly versions: string;
  /** Markdown. */
  readonly text: string;
}

/** Writes the result of a run into its place in docs/interop.md, between two comments of that name. */
export function writeSection(name: string, { command, versions, text }: Section): void {
  const date = new Date().toISOString().slice(0, 10);
  putBetween(name, `The last run of \`${command}\`: ${date}, with ${versions}.\n\n${text}`);
}

/** Replaces what stands between `<!-- NAME -->` and `<!-- /NAME -->`. Throws where the document has no such place. */
export function putBetween(name: string, text: string): void {
  const whole = readFileSync(DOCUMENT, 'utf8');
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [whole.indexOf(start), whole.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/interop.md has no place for "${name}"`);
  writeFileSync(DOCUMENT, `${whole.slice(0, from + start.length)}\n${text.trim()}\n${whole.slice(to)}`);
}

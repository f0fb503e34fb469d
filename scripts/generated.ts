import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { shopLines } from '../examples/generate-shop.ts';
import { commandReference } from '../src/cli/reference.ts';
import { policyJsonSchema } from '../src/policy/index.ts';

/** Every file that is made by a program, with the program. Paths are from the project's root. */
const GENERATED: Readonly<Record<string, () => string>> = {
  'docs/cli.md': commandReference,
  'docs/accesspolicy.schema.json': () => `${JSON.stringify(policyJsonSchema(), null, 2)}\n`,
  'examples/shop/access.jsonl.gz': () => `${shopLines().join('\n')}\n`,
};

const place = (path: string) => new URL(`../${path}`, import.meta.url);

function contentOf(path: string): string {
  try {
    const bytes = readFileSync(place(path));
    return (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
  } catch {
    return '';
  }
}

/** The generated files whose content differs from a fresh generation, as sentences. */
export function staleFiles(): string[] {
  return Object.entries(GENERATED)
    .filter(([path, make]) => contentOf(path) !== make())
    .map(([path]) => `${path} differs from a fresh generation: run "npm run generate"`);
}

/** Writes every generated file that differs. Compressed ones are compared by what is in them. */
export function writeGenerated(): string[] {
  const written: string[] = [];
  for (const [path, make] of Object.entries(GENERATED)) {
    const text = make();
    if (contentOf(path) === text) continue;
    mkdirSync(dirname(place(path).pathname), { recursive: true });
    writeFileSync(place(path), path.endsWith('.gz') ? gzipSync(text, { level: 9 }) : text);
    written.push(path);
  }
  return written;
}

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Writable } from 'node:stream';
import { gunzipSync, gzipSync } from 'node:zlib';
import { shopLines } from '../examples/generate-shop.ts';
import { commandReference } from '../src/cli/reference.ts';
import { Terminal } from '../src/cli/terminal.ts';
import { policyJsonSchema } from '../src/policy/index.ts';
import { mainJob } from './main-job.ts';

/** Every file that is made by a program, with the program. Paths are from the project's root. */
const GENERATED: Readonly<Record<string, () => string | Promise<string>>> = {
  'docs/cli.md': commandReference,
  'docs/accesspolicy.schema.json': () => `${JSON.stringify(policyJsonSchema(), null, 2)}\n`,
  'examples/shop/access.jsonl.gz': () => `${shopLines().join('\n')}\n`,
  // After the recording, which it reads.
  'README.md': readme,
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

const RECORDING = /(<!-- npm start -->\n```text\n).*?(\n```\n<!-- \/npm start -->)/s;

/** The README as it is, with what `npm start` prints today between its two marks. */
async function readme(): Promise<string> {
  const chunks: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk));
      done();
    },
  });
  const code = await mainJob(new Terminal(stream, stream, {}), []);
  const said = `$ npm start\n${chunks.join('').trimEnd()}`;
  if (code !== 0) throw new Error(`the main job failed on the example:\n${said}`);
  const now = contentOf('README.md');
  if (!RECORDING.test(now)) throw new Error('README.md has lost the marks around the recording of npm start');
  return now.replace(RECORDING, (_, start, end) => `${start}${said}${end}`);
}

/** The generated files whose content differs from a fresh generation, as sentences. */
export async function staleFiles(): Promise<string[]> {
  const stale: string[] = [];
  for (const [path, make] of Object.entries(GENERATED)) {
    if (contentOf(path) !== (await make())) {
      stale.push(`${path} differs from a fresh generation: run "npm run generate"`);
    }
  }
  return stale;
}

/** Writes every generated file that differs. Compressed ones are compared by what is in them. */
export async function writeGenerated(): Promise<string[]> {
  const written: string[] = [];
  for (const [path, make] of Object.entries(GENERATED)) {
    const text = await make();
    if (contentOf(path) === text) continue;
    mkdirSync(dirname(place(path).pathname), { recursive: true });
    writeFileSync(place(path), path.endsWith('.gz') ? gzipSync(text, { level: 9 }) : text);
    written.push(path);
  }
  return written;
}

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Writable } from 'node:stream';
import { gunzipSync, gzipSync } from 'node:zlib';
import { shopLines } from '../examples/generate-shop.ts';
import { policyTestJsonSchema } from '../src/cli/gitops/cases/schema.ts';
import { commandReference } from '../src/cli/reference.ts';
import { Terminal } from '../src/cli/terminal.ts';
import { policyJsonSchema } from '../src/policy/index.ts';
import { openApi } from '../src/server/index.ts';
import { withRoutes } from './generate-api.ts';
import { EXAMPLE, mainJob } from './main-job.ts';
import { protoFiles } from './proto.ts';

/** Every file that is made by a program, with the program. Paths are from the project's root. */
const GENERATED: Readonly<Record<string, () => string | Promise<string>>> = {
  'docs/cli.md': commandReference,
  'docs/accesspolicy.schema.json': () => `${JSON.stringify(policyJsonSchema(), null, 2)}\n`,
  'docs/policytest.schema.json': () => `${JSON.stringify(policyTestJsonSchema(), null, 2)}\n`,
  'docs/openapi.json': () => `${JSON.stringify(openApi(), null, 2)}\n`,
  'docs/api.md': () => withRoutes(contentOf('docs/api.md')),
  'examples/shop/access.jsonl.gz': () => `${shopLines().join('\n')}\n`,
  // After the recording, which it reads.
  'README.md': readme,
};

/** The folder whose every file is made from .proto files. */
const PROTO = 'src/proto/gen';

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

/** The README as it is, with what the main job prints today between its two marks. */
async function readme(): Promise<string> {
  const chunks: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk));
      done();
    },
  });
  const code = await mainJob(new Terminal(stream, stream, {}), EXAMPLE);
  const said = `$ npm start -- ${EXAMPLE.join(' ')}\n${chunks.join('').trimEnd()}`;
  if (code !== 0) throw new Error(`the main job failed on the example:\n${said}`);
  const now = contentOf('README.md');
  if (!RECORDING.test(now)) throw new Error('README.md has lost the marks around the recording of npm start');
  return now.replace(RECORDING, (_, start, end) => `${start}${said}${end}`);
}

/** Every generated file with its fresh text, and the files of generated folders that nothing makes any more. */
async function* fresh(): AsyncGenerator<{ path: string; text: string | undefined }> {
  const proto = protoFiles();
  for (const [name, text] of proto) yield { path: `${PROTO}/${name}`, text };
  const there = existsSync(place(PROTO)) ? readdirSync(place(PROTO), { recursive: true }) : [];
  for (const name of there.map(String)) {
    if (name.endsWith('.ts') && !proto.has(name)) yield { path: `${PROTO}/${name}`, text: undefined };
  }
  for (const [path, make] of Object.entries(GENERATED)) yield { path, text: await make() };
}

/** The generated files whose content differs from a fresh generation, as sentences. */
export async function staleFiles(): Promise<string[]> {
  const stale: string[] = [];
  for await (const { path, text } of fresh()) {
    if (contentOf(path) !== (text ?? '')) {
      stale.push(`${path} differs from a fresh generation: run "npm run generate"`);
    }
  }
  return stale;
}

/** Writes every generated file that differs. Compressed ones are compared by what is in them. */
export async function writeGenerated(): Promise<string[]> {
  const written: string[] = [];
  for await (const { path, text } of fresh()) {
    if (contentOf(path) === (text ?? '')) continue;
    written.push(path);
    if (text === undefined) {
      rmSync(place(path));
      continue;
    }
    mkdirSync(dirname(place(path).pathname), { recursive: true });
    writeFileSync(place(path), path.endsWith('.gz') ? gzipSync(text, { level: 9 }) : text);
  }
  return written;
}

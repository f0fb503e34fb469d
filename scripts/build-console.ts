// `npm run build:console`: the console in console/dist (or the directory that is named), packed for browsers, and what its
// first view weighs.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { extname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { build } from 'vite';

/** Most script that the first view may take, compressed with gzip, in bytes. */
const MOST = 400_000;
const PACKED = new Set(['.js', '.css', '.html', '.svg']);

const root = fileURLToPath(new URL('../console/', import.meta.url));
const dist = resolve(process.argv[2] ?? join(root, 'dist'));
// Vite takes the mode of the caller's environment over its own: the console is never built for development.
process.env.NODE_ENV = 'production';
await build({
  root,
  configFile: join(root, 'vite.config.ts'),
  logLevel: 'warn',
  build: { outDir: dist, emptyOutDir: true },
});

interface Chunk {
  readonly file: string;
  readonly imports?: readonly string[];
  readonly css?: readonly string[];
}
// Written by the build, in this shape.
const manifest = JSON.parse(readFileSync(join(dist, 'manifest.json'), 'utf8')) as Record<string, Chunk>;

/** The scripts that a page needs before it is there: its own, the frame's, and what both import. */
function scriptsOf(...entries: string[]): Set<string> {
  const files = new Set<string>();
  const wanted = [...entries];
  for (let key = wanted.pop(); key !== undefined; key = wanted.pop()) {
    const chunk = manifest[key];
    if (chunk === undefined) throw new TypeError(`the build has no "${key}"`);
    if (files.has(chunk.file)) continue;
    files.add(chunk.file);
    wanted.push(...(chunk.imports ?? []));
  }
  return files;
}

const sizes = new Map<string, number>();
for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  const file = join(entry.parentPath, entry.name);
  if (!entry.isFile() || !PACKED.has(extname(file))) continue;
  const bytes = readFileSync(file);
  const gzip = gzipSync(bytes, { level: 9 });
  sizes.set(file, gzip.byteLength);
  // The page itself is made anew for each caller: it carries a nonce.
  if (entry.name === 'index.html') continue;
  writeFileSync(`${file}.gz`, gzip);
  writeFileSync(`${file}.br`, brotliCompressSync(bytes));
}

let first = 0;
for (const file of scriptsOf('index.html', 'src/map/index.tsx')) first += sizes.get(join(dist, file)) ?? 0;
const kilobytes = (bytes: number) => `${Math.round(bytes / 1000)} kB`;
console.log(`The first view takes ${kilobytes(first)} of script, compressed; ${kilobytes(MOST)} at most.`);
if (first > MOST) process.exit(1);

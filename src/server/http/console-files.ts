import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { acceptedEncodings } from './encodings.ts';
import { newNonce, securityHeaders } from './headers.ts';

/** Where the build of the console stands: beside the program's sources, or its build. */
export const CONSOLE_DIR = fileURLToPath(new URL('../../../console/dist', import.meta.url));

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.json': 'application/json',
  '.map': 'application/json',
  '.webmanifest': 'application/manifest+json',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
};
const ENCODINGS = [
  ['br', '.br'],
  ['gzip', '.gz'],
] as const;
/** Most bytes of one build: it is kept in memory. */
const MAX_BYTES = 64 * 1024 * 1024;
/** A name with a hash of its content in it never means another content. */
const HASHED = /^\/assets\/.*-[A-Za-z0-9_-]{8,}\.[a-z0-9]+$/;

interface ConsoleFile {
  readonly type: string;
  readonly etag: string;
  readonly isHashed: boolean;
  /** As it is; undefined where it is kept packed, until the first of the few who take no packing asks. */
  bytes: Uint8Array<ArrayBuffer> | undefined;
  readonly encoded: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
}

const NOT_BUILT = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Interlock</title></head>
<body><h1>Interlock</h1>
<p>The control plane is here; its console is not built. In the program's directory:</p>
<pre>npm run build:console</pre>
<p>Then start the control plane again. The command line and the <a href="/v1/openapi.json">API</a> work without it.</p>
</body></html>
`;

/** The console's files, read once: what is not among them is not there, whatever a path says. */
export class ConsoleFiles {
  readonly #files: ReadonlyMap<string, ConsoleFile>;
  readonly #page: string;
  readonly #firstView: string;
  readonly isBuilt: boolean;

  constructor(dir: string = CONSOLE_DIR) {
    this.#files = readAll(dir);
    const index = this.#files.get('/index.html');
    this.isBuilt = index !== undefined;
    this.#page = index === undefined ? NOT_BUILT : Buffer.from(plainOf(index)).toString();
    this.#firstView = index === undefined ? '' : firstViewOf(this.#page, this.#files.get('/manifest.json'));
  }

  /** The answer for a path, or undefined where nothing is there. A path of the console itself gives its page. */
  answer(request: Request, path: string, isHttps: boolean): Response | undefined {
    const file = path === '/index.html' ? undefined : this.#files.get(path);
    if (file !== undefined) return fileAnswer(request, file);
    const isPage = path === '/' || (request.headers.get('accept') ?? '').includes('text/html');
    return isPage ? this.#pageAnswer(isHttps, path === '/' ? this.#firstView : '') : undefined;
  }

  /** The page says a nonce to its scripts, which they give to the styles that they make. */
  #pageAnswer(isHttps: boolean, links: string): Response {
    const nonce = newNonce();
    const head = `<head>\n    <meta property="csp-nonce" nonce="${nonce}" />${links}`;
    const page = this.#page.replace('<head>', () => head);
    return new Response(page, {
      headers: {
        ...securityHeaders(isHttps, nonce),
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-cache',
      },
    });
  }
}

/** What the map reads first, as its script asks for it. */
const FIRST_READS = ['/v1/me', '/v1/graph?by=workload'];
/** The map in the build's manifest, which says what belongs to which page. */
const MAP = 'src/map/index.tsx';

interface Chunk {
  readonly file: string;
  readonly imports?: readonly string[];
  readonly css?: readonly string[];
}

/** Links to what the map needs beside the page: all of it is on its way while the first script has not yet been read. */
function firstViewOf(page: string, manifest: ConsoleFile | undefined): string {
  if (manifest === undefined) return '';
  // The build writes it, in this shape.
  const chunks = JSON.parse(Buffer.from(plainOf(manifest)).toString()) as Record<string, Chunk>;
  const scripts = new Set<string>();
  const styles = new Set<string>();
  const wanted = [MAP];
  for (let name = wanted.pop(); name !== undefined; name = wanted.pop()) {
    const chunk = chunks[name];
    if (chunk === undefined || scripts.has(chunk.file)) continue;
    scripts.add(chunk.file);
    for (const style of chunk.css ?? []) styles.add(style);
    wanted.push(...(chunk.imports ?? []));
  }
  const isNew = (file: string) => !page.includes(`/${file}"`);
  return [
    ...[...scripts].filter(isNew).map((file) => `<link rel="modulepreload" crossorigin href="/${file}" />`),
    ...[...styles]
      .filter(isNew)
      .map((file) => `<link rel="preload" as="style" crossorigin href="/${file}" />`),
    ...FIRST_READS.map((path) => `<link rel="preload" as="fetch" crossorigin href="${path}" />`),
  ]
    .map((link) => `\n    ${link}`)
    .join('');
}

function plainOf(file: ConsoleFile): Uint8Array<ArrayBuffer> {
  file.bytes ??= new Uint8Array(gunzipSync(file.encoded.get('gzip') ?? new Uint8Array()));
  return file.bytes;
}

function fileAnswer(request: Request, file: ConsoleFile): Response {
  const { type, etag, isHashed, encoded } = file;
  const headers = new Headers({
    'content-type': type,
    'cache-control': isHashed ? 'public, max-age=31536000, immutable' : 'no-cache',
    etag,
    ...(encoded.size > 0 ? { vary: 'accept-encoding' } : {}),
  });
  if (request.headers.get('if-none-match') === etag) return new Response(null, { status: 304, headers });
  const accepted = acceptedEncodings(request.headers.get('accept-encoding'));
  for (const [encoding] of ENCODINGS) {
    const body = accepted.has(encoding) ? encoded.get(encoding) : undefined;
    if (body === undefined) continue;
    headers.set('content-encoding', encoding);
    headers.set('etag', `${etag.slice(0, -1)}-${encoding}"`);
    return new Response(body, { headers });
  }
  return new Response(plainOf(file), { headers });
}

function readAll(dir: string): Map<string, ConsoleFile> {
  const files = new Map<string, ConsoleFile>();
  if (!existsSync(dir)) return files;
  const raw = new Map<string, Uint8Array<ArrayBuffer>>();
  let size = 0;
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    // A link could lead out of the build.
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    const bytes = new Uint8Array(readFileSync(file));
    size += bytes.byteLength;
    if (size > MAX_BYTES) throw new TypeError(`the console in ${dir} has more than ${MAX_BYTES} bytes`);
    raw.set(`/${relative(dir, file).split(sep).join('/')}`, bytes);
  }
  for (const [path, bytes] of raw) {
    const type = TYPES[extname(path)];
    if (type === undefined) continue;
    const encoded = new Map(
      ENCODINGS.flatMap(([encoding, ending]) => {
        const packed = raw.get(`${path}${ending}`);
        return packed === undefined ? [] : [[encoding, packed] as const];
      }),
    );
    const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;
    const kept = encoded.has('gzip') ? undefined : bytes;
    files.set(path, { type, etag, isHashed: HASHED.test(path), bytes: kept, encoded });
  }
  return files;
}

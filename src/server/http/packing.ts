import { promisify } from 'node:util';
import { brotliCompress, constants, gzip, zstdCompress } from 'node:zlib';
import { acceptedEncodings } from './encodings.ts';

type Bytes = Uint8Array<ArrayBuffer>;
type Packer = (bytes: Bytes) => Promise<Uint8Array>;
type Packers = readonly (readonly [encoding: string, Packer])[];

const [asZstd, asBrotli, asGzip] = [promisify(zstdCompress), promisify(brotliCompress), promisify(gzip)];
/** The fastest first. By the levels, 3 MB of JSON take some 10 to 30 ms of another thread. */
const PACKERS: Packers = [
  ['zstd', (bytes) => asZstd(bytes)],
  ['br', (bytes) => asBrotli(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } })],
  ['gzip', (bytes) => asGzip(bytes, { level: 4 })],
];
/** Bytes from which on an answer is packed. */
const LEAST_BYTES = 8 * 1024;
/** Packed answers that are kept: their number, and the bytes of one at most. */
const MOST_KEPT = 8;
const MOST_KEPT_BYTES = 2 * 1024 * 1024;
/** Answers that are packed at once: what is asked for besides is sent as it is. Packing shares its threads with all that reads files. */
export const MOST_AT_ONCE = 3;

/**
 * Packs long JSON answers to reads, and keeps the last ones by their version: when the estate changes, every console reads
 * the same again. What an answer says can be guessed from its packed length by whoever can put own text into it and see
 * the length (BREACH, CVE-2013-3587). So nothing secret is packed: what has a weak version is the estate as every viewer
 * sees it, links, tokens and sessions are answered to POST or have none, and pages of other sites can ask for nothing here.
 */
export class Packing {
  /** The one that nobody has asked for longest first. */
  readonly #kept = new Map<string, Promise<Bytes>>();
  readonly #packers: Packers;
  #making = 0;

  /** `packers` are tried in this order. */
  constructor(packers: Packers = PACKERS) {
    this.#packers = packers;
  }

  /** The answer, packed where that is worth it and the caller takes it so. `path` is what was asked for, with its query. */
  async packed(request: Request, path: string, answer: Response): Promise<Response> {
    const tag = answer.headers.get('etag');
    const isJson = answer.headers.get('content-type') === 'application/json';
    // A strong version names bytes: packed ones would need another.
    if (request.method !== 'GET' || tag?.startsWith('W/') !== true) return answer;
    answer.headers.set('vary', 'accept-encoding');
    if (answer.status !== 200 || !isJson || answer.headers.has('content-encoding')) return answer;
    const accepted = acceptedEncodings(request.headers.get('accept-encoding'));
    const [encoding, pack] = this.#packers.find(([name]) => accepted.has(name)) ?? [];
    if (encoding === undefined || pack === undefined) return answer;
    const name = `${encoding} ${tag} ${path}`;
    const known = await this.#known(name);
    if (known !== undefined) {
      await answer.body?.cancel();
      return withBody(answer, known, encoding);
    }
    const bytes = new Uint8Array(await answer.arrayBuffer());
    // Somebody else may have asked for the same while it was read.
    const meanwhile = this.#known(name);
    if (meanwhile !== undefined) return withBody(answer, await meanwhile, encoding);
    if (bytes.byteLength < LEAST_BYTES || this.#making >= MOST_AT_ONCE) return withBody(answer, bytes);
    return withBody(answer, await this.#pack(name, bytes, pack), encoding);
  }

  /** Queries that nobody asks twice push out no other answer than their own. */
  #known(name: string): Promise<Bytes> | undefined {
    const known = this.#kept.get(name);
    if (known === undefined) return undefined;
    this.#kept.delete(name);
    this.#kept.set(name, known);
    return known;
  }

  async #pack(name: string, bytes: Bytes, pack: Packer): Promise<Bytes> {
    this.#making++;
    const making = pack(bytes).then((made): Bytes => new Uint8Array(made));
    this.#kept.set(name, making);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MOST_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    try {
      const made = await making;
      if (made.byteLength > MOST_KEPT_BYTES) this.#kept.delete(name);
      return made;
    } catch (error) {
      this.#kept.delete(name);
      throw error;
    } finally {
      this.#making--;
    }
  }
}

function withBody({ status, headers }: Response, body: Bytes, encoding?: string): Response {
  if (encoding !== undefined) headers.set('content-encoding', encoding);
  return new Response(body, { status, headers });
}

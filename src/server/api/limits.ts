import { InterlockError } from '../../access/index.ts';
import type { RouteName } from '../../api/index.ts';

/** For every HTTP server of the API: who is slow to ask is cut off (Node answers 408), milliseconds. */
export const SERVER_LIMITS = {
  headersTimeout: 10_000,
  /** The whole request, with its body. */
  requestTimeout: 30_000,
  connectionsCheckingInterval: 1000,
  maxHeaderSize: 16 * 1024,
} as const;

/** Largest body of most routes, bytes. */
const MAX_BODY_BYTES = 64 * 1024;
/** Documents and certificates are longer: 10,000 rules fit in 16 MiB. */
const LARGER: { readonly [Name in RouteName]?: number } = {
  'policies.apply': 16 * 1024 * 1024,
  'policies.check': 1024 * 1024,
  'policies.sync': 16 * 1024 * 1024,
  'reviews.edit': 16 * 1024 * 1024,
  'rules.apply': 16 * 1024 * 1024,
  'rules.explain': 16 * 1024 * 1024,
  'envoy-proxies.apply': 1024 * 1024,
  'federation.put': 2 * 1024 * 1024,
  'identities.verify': 1024 * 1024,
  'authorities.import': 1024 * 1024,
};
/** Deepest nesting of arrays and objects in a body. */
const MAX_DEPTH = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** The body of a request as JSON, or undefined where there is none. Throws `limit`, `usage`. */
export async function readBody(request: Request, name?: RouteName): Promise<unknown> {
  const most = (name === undefined ? undefined : LARGER[name]) ?? MAX_BODY_BYTES;
  const tooLarge = () => new InterlockError('limit', 'body', `the body has more than ${most} bytes`);
  if (Number(request.headers.get('content-length') ?? 0) > most) throw tooLarge();
  if (request.body === null) return undefined;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body) {
    size += chunk.byteLength;
    if (size > most) throw tooLarge();
    chunks.push(chunk);
  }
  if (size === 0) return undefined;
  const type = request.headers.get('content-type') ?? '';
  if (!/^application\/json\s*(;|$)/i.test(type))
    throw new InterlockError('usage', 'content-type', 'the content-type of a body is application/json');
  const bytes = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
  checkDepth(bytes);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new InterlockError('usage', 'body', 'the body is not JSON', { cause });
  }
}

/** Before anything is parsed: what walks the data afterwards calls itself once a level. Throws `limit`. */
function checkDepth(json: Uint8Array): void {
  let depth = 0;
  let inText = false;
  for (let i = 0; i < json.length; i++) {
    const byte = json[i];
    if (inText) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) inText = false;
    } else if (byte === QUOTE) inText = true;
    // [ and {
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > MAX_DEPTH)
        throw new InterlockError('limit', 'body', `the body is nested deeper than ${MAX_DEPTH} levels`);
    }
    // ] and }
    else if (byte === 0x5d || byte === 0x7d) depth--;
  }
}

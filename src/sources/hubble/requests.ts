import {
  type Action,
  grpcMethodOf,
  MAX_PATH_LENGTH,
  type Outcome,
  recordedPath,
  type Side,
} from '../../access/index.ts';
import { BoundedMap } from './bounded-map.ts';
import type { CountedCall } from './call.ts';
import type { Tuple } from './connections.ts';
import type { HttpRecord } from './flow.ts';
import { NotUsable } from './json.ts';

/** Kinds of requests that wait for their response at once, and requests of one kind on one connection. */
const MAX_WAITING = 65_536;
const MAX_ALIKE = 1000;
/** Requests whose URLs differ only after this many characters are matched in the order they were sent. */
const MAX_URL_IN_KEY = 1024;
/** Responses later than this are not matched; Envoy's own default for a whole request is 15 s. */
const MAX_WAIT_MS = 600_000;

// A method is a token (RFC 9110 sections 5.6.2 and 9.1); it stands in keys and policies, so nothing else goes in.
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;

/** The action of an HTTP record. Throws {@link NotUsable}. */
export function actionOf(http: HttpRecord, port: number): Action {
  const { method, url } = http;
  if (method === undefined || url === undefined) throw new NotUsable('an HTTP message without method or URL');
  if (!TOKEN.test(method)) throw new NotUsable('an HTTP method that is not a token');
  const path = recordedPath(pathOf(url));
  if (path.length > MAX_PATH_LENGTH) throw new NotUsable(`a path longer than ${MAX_PATH_LENGTH} characters`);
  const grpc = isGrpc(http, path) ? grpcMethodOf(path) : undefined;
  return grpc === undefined ? { kind: 'http', port, method, path } : { kind: 'grpc', port, ...grpc };
}

/** The raw path of an absolute URL or of a path; never normalised, because policies see it raw. */
function pathOf(url: string): string {
  for (let i = 0; i < url.length; i++) {
    const c = url.charCodeAt(i);
    if (c <= 0x20 || c === 0x7f) throw new NotUsable('a URL with a space or control character');
  }
  if (url.startsWith('/') && !url.startsWith('//')) return url;
  // Go writes a URL without scheme as "//host/path"; CONNECT and "*" have no path that a rule could name.
  const authority = /^(?:[A-Za-z][A-Za-z0-9+.-]*:)?\/\//.exec(url);
  if (authority === null) throw new NotUsable('a URL that is neither absolute nor a path');
  const start = url.slice(authority[0].length).search(/[/?#]/);
  if (start < 0) return '/';
  const rest = url.slice(authority[0].length + start);
  return rest.startsWith('/') ? rest : `/${rest}`;
}

/**
 * gRPC over HTTP/2: POST with content type application/grpc. Where headers are not recorded, HTTP/2 and a
 * service name with a package tell; a path of another shape stays an HTTP path, which allows the same request.
 */
function isGrpc(http: HttpRecord, path: string): boolean {
  if (http.method !== 'POST') return false;
  if (http.contentType !== undefined) return /^application\/grpc(?:$|[+;])/.test(http.contentType);
  return /^HTTP\/2/i.test(http.protocol ?? '') && /^\/[A-Za-z_]\w*(?:\.\w+)+\/\w+$/.test(path);
}

/** Matches responses to the requests that were counted. */
export class Requests {
  readonly #waiting = new BoundedMap<CountedCall[]>(MAX_WAITING);

  /** Remembers a counted request until its response shows how it ended. */
  sent(tuple: Tuple, side: Side, http: HttpRecord, call: CountedCall): void {
    const key = keyOf(tuple, side, http);
    const alike = this.#waiting.get(key) ?? [];
    if (alike.length >= MAX_ALIKE) alike.shift();
    alike.push(call);
    this.#waiting.set(key, alike);
  }

  /** Settles the oldest request that the response answers; false where there is none. */
  answered(tuple: Tuple, side: Side, http: HttpRecord, at: number, outcome: Outcome): boolean {
    const key = keyOf(tuple, side, http);
    const alike = this.#waiting.get(key);
    const call = alike?.shift();
    if (alike?.length === 0) this.#waiting.delete(key);
    if (call === undefined || at - call.at > MAX_WAIT_MS) return false;
    // A request that a policy refused is answered too: by the proxy.
    if (call.outcome === 'ok') call.settle(outcome);
    return true;
  }
}

/** How the call ended that an HTTP response answers; a 4xx or 5xx reached the application too. */
export function outcomeOfResponse(http: HttpRecord): 'ok' | 'error' {
  return http.code >= 400 ? 'error' : 'ok';
}

function keyOf(tuple: Tuple, side: Side, http: HttpRecord): string {
  const { sourceIp, sourcePort, destinationIp, destinationPort } = tuple;
  const ends = `${sourceIp} ${sourcePort} ${destinationIp} ${destinationPort}`;
  return `${side} ${ends} ${http.method ?? ''} ${http.url?.slice(0, MAX_URL_IN_KEY) ?? ''}`;
}

import { isIP } from 'node:net';
import { InterlockError } from '../access/index.ts';

/** Name of the environment variable that says where the Workload API is (SPIFFE_Workload_Endpoint.md section 4). */
export const ENDPOINT_VARIABLE = 'SPIFFE_ENDPOINT_SOCKET';

/** Longest path of a Unix socket in bytes: sun_path of Linux holds 108 with the closing zero (unix(7)). */
const MAX_SOCKET_PATH = 107;

/** Where a Workload API listens. */
export interface Endpoint {
  /** As it was given. */
  readonly text: string;
  /** As grpc-js dials it. */
  readonly target: string;
}

/** The endpoint given, else the one of the environment. Throws `usage` where there is none or it is malformed. */
export function endpointOf(
  given: string | undefined,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Endpoint {
  if (given !== undefined) return parseEndpoint(given);
  const text = env[ENDPOINT_VARIABLE];
  if (text !== undefined && text !== '') return parseEndpoint(text);
  throw new InterlockError(
    'usage',
    ENDPOINT_VARIABLE,
    `where the Workload API listens is not known: set ${ENDPOINT_VARIABLE}, for example to unix:///run/interlock/agent.sock`,
  );
}

/**
 * Reads `unix:///absolute/path` or `tcp://IP:PORT`, the two forms of SPIFFE_Workload_Endpoint.md section 4; `unix:/path`
 * is the same URI without its empty authority. Throws `usage`.
 */
export function parseEndpoint(text: string): Endpoint {
  if (text.startsWith('unix:')) return { text, target: `unix:${socketPath(text)}` };
  if (text.startsWith('tcp:')) return { text, target: tcpTarget(text) };
  throw bad(text, 'it starts with neither "unix:" nor "tcp:"');
}

function socketPath(text: string): string {
  const rest = text.slice('unix:'.length);
  const raw = rest.startsWith('//') ? rest.slice(2) : rest;
  if (raw === '') throw bad(text, 'the path of the socket is missing');
  if (!raw.startsWith('/')) {
    throw bad(text, 'the path of the socket must be absolute, with nothing before it: unix:///path');
  }
  if (/[?#]/.test(raw)) throw bad(text, 'a unix endpoint has no query and no fragment');
  const path = decode(text, raw).replace(/^\/+/, '/');
  if (/\p{Cc}/u.test(path)) throw bad(text, 'the path of the socket has a control character');
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    throw bad(text, `the path of a socket has at most ${MAX_SOCKET_PATH} bytes`);
  }
  return path;
}

function decode(text: string, raw: string): string {
  try {
    return decodeURIComponent(raw);
  } catch {
    throw bad(text, 'it has a "%" that encodes nothing');
  }
}

function tcpTarget(text: string): string {
  const match = /^tcp:\/\/(?:\[([^\]]*)\]|([^:/?#@[\]]*)):(\d{1,5})$/.exec(text);
  if (match === null) {
    throw bad(text, 'a tcp endpoint is an IP address and a port and nothing else: tcp://127.0.0.1:8081');
  }
  const [, six, four, digits] = match;
  const port = Number(digits);
  if (port < 1 || port > 65_535) throw bad(text, 'a port is a number from 1 to 65535');
  if (six !== undefined) {
    if (isIP(six) !== 6) throw bad(text, 'between "[" and "]" stands an IPv6 address');
    return `ipv6:[${six}]:${port}`;
  }
  if (isIP(four ?? '') !== 4) throw bad(text, 'the host must be an IP address, not a name');
  return `ipv4:${four}:${port}`;
}

function bad(text: string, why: string): InterlockError {
  const shown = text.length > 160 ? `${text.slice(0, 157)}...` : text;
  return new InterlockError('usage', shown, `"${shown}" is no Workload API endpoint: ${why}`);
}

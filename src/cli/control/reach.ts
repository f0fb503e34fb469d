import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { InterlockError } from '../../access/index.ts';
import type { ApiOf } from './api.ts';
import { bearerToken } from './token.ts';

/** The socket of the control plane in its state directory, and the header that names who calls. */
const API_SOCKET = 'api.sock';
const USER_HEADER = 'x-interlock-user';
/** Largest answer that is read. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const TIMEOUT_MS = 60_000;

/** What a control plane answered, and where it was asked. */
export interface Reached {
  readonly status: number;
  readonly text: string;
  readonly at: string;
}

/** Where a call goes, and who it is of. */
interface Way {
  readonly at: string;
  readonly target: { readonly socketPath: string } | URL;
  readonly headers: Readonly<Record<string, string>>;
}

/** Sends one call and reads its answer. Redirects are not followed: a token goes to nobody else. Throws `unavailable`, `forbidden`. */
export async function reach(
  of: ApiOf,
  method: string,
  path: string,
  payload: Buffer | undefined,
  ifMatch?: string,
): Promise<Reached> {
  const way = of.server === undefined ? localWay(of.state) : await remoteWay(of.server);
  const isLocal = 'socketPath' in way.target;
  const send = !isLocal && way.target.protocol === 'https:' ? httpsRequest : httpRequest;
  const target = isLocal
    ? way.target
    : { protocol: way.target.protocol, hostname: bareHost(way.target), port: way.target.port || undefined };
  const failed = (cause: unknown) => (isLocal ? noAnswerHere(of.state, cause) : noAnswerThere(way.at, cause));
  return new Promise<Reached>((done, reject) => {
    const call = send({
      ...target,
      method,
      path,
      timeout: TIMEOUT_MS,
      signal: of.signal,
      // A connection of its own: one that was kept may be closed by the other end at the moment of its next use, and of a
      // change nobody knows then whether it was made.
      agent: false,
      headers: {
        ...way.headers,
        ...(ifMatch === undefined ? {} : { 'if-match': `"${ifMatch}"` }),
        ...(payload === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': payload.length }),
      },
    });
    call.on('error', (cause) => reject(failed(cause)));
    call.on('timeout', () => call.destroy(new Error('no answer in time')));
    call.on('response', (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_ANSWER_BYTES) call.destroy(new Error('the answer is too large'));
        else chunks.push(chunk);
      });
      response.on('error', (cause) => reject(failed(cause)));
      response.on('end', () =>
        done({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString(), at: way.at }),
      );
    });
    call.end(payload);
  });
}

function localWay(state: string): Way {
  const socketPath = resolve(join(state, API_SOCKET));
  return { at: state, target: { socketPath }, headers: { [USER_HEADER]: userName() } };
}

async function remoteWay(server: string): Promise<Way> {
  const url = serverUrl(server);
  const token = await bearerToken(url);
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return { at: url.origin, target: url, headers };
}

/** The URL of a control plane: https, or http on this machine, where nobody between could read the token. Throws `usage`. */
export function serverUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain =
    url?.pathname === '/' && url.search === '' && url.hash === '' && `${url.username}${url.password}` === '';
  const isSafe = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(bareHost(url)));
  if (url !== undefined && isPlain && isSafe) return url;
  // A password in it would be shown, in the log of a job for instance.
  const shown = text.slice(0, 200).replace(/\/\/.*@/, '//...@');
  throw new InterlockError(
    'usage',
    shown,
    `"${shown}" is no address of a control plane: it is written https://HOST[:PORT], or http://127.0.0.1:PORT on this machine`,
  );
}

const bareHost = ({ hostname }: URL) => hostname.replace(/^\[|\]$/g, '');

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function userName(): string {
  try {
    return process.env['SUDO_USER'] ?? userInfo().username;
  } catch {
    // A user without an entry in the user database.
    return `uid-${process.getuid?.() ?? 'unknown'}`;
  }
}

function noAnswerHere(state: string, cause: unknown): InterlockError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  if (code === 'EACCES' || code === 'EPERM') {
    return new InterlockError(
      'forbidden',
      state,
      `only the owner of ${state} and root may talk to its control plane`,
      { cause },
    );
  }
  return new InterlockError(
    'unavailable',
    state,
    `no control plane serves ${state}: start it with "interlock authority serve", or name its directory with --state, or its address with --server`,
    { cause },
  );
}

function noAnswerThere(at: string, cause: unknown): InterlockError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new InterlockError('unavailable', at, `${at} does not answer: ${why}`, { cause });
}

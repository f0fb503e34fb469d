import { request } from 'node:http';
import { userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { ERROR_CODES, type ErrorCode, InterlockError } from '../../access/index.ts';

/** The socket of the control plane in its state directory, and the header that names who calls. */
const API_SOCKET = 'api.sock';
const USER_HEADER = 'x-interlock-user';
/** Largest answer that is read. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const TIMEOUT_MS = 60_000;

/** The control plane that serves a state directory. Every call throws what it answered, or `unavailable`. */
export class Api {
  readonly #state: string;

  constructor(state: string) {
    this.#state = state;
  }

  get<T>(path: string, query: Readonly<Record<string, string | undefined>> = {}): Promise<T> {
    const given = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== undefined);
    const text = new URLSearchParams(given).toString();
    return this.#call('GET', text === '' ? path : `${path}?${text}`);
  }

  post<T>(path: string, body: object = {}): Promise<T> {
    return this.#call('POST', path, body);
  }

  put<T>(path: string, body: object): Promise<T> {
    return this.#call('PUT', path, body);
  }

  delete<T>(path: string): Promise<T> {
    return this.#call('DELETE', path);
  }

  #call<T>(method: string, path: string, body?: object): Promise<T> {
    const socketPath = resolve(join(this.#state, API_SOCKET));
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    return new Promise<T>((resolve, reject) => {
      const call = request({
        socketPath,
        method,
        path,
        timeout: TIMEOUT_MS,
        headers: {
          [USER_HEADER]: userName(),
          ...(payload === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': payload.length }),
        },
      });
      call.on('error', (cause) => reject(noAnswer(this.#state, cause)));
      call.on('timeout', () => call.destroy(new Error('no answer in time')));
      call.on('response', (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > MAX_ANSWER_BYTES) call.destroy(new Error('the answer is too large'));
          else chunks.push(chunk);
        });
        response.on('error', (cause) => reject(noAnswer(this.#state, cause)));
        response.on('end', () => {
          try {
            const answer: unknown = JSON.parse(Buffer.concat(chunks).toString());
            if (response.statusCode === 200) resolve(answer as T);
            else reject(problem(answer));
          } catch (cause) {
            reject(noAnswer(this.#state, cause));
          }
        });
      });
      call.end(payload);
    });
  }
}

function userName(): string {
  try {
    return process.env['SUDO_USER'] ?? userInfo().username;
  } catch {
    // A user without an entry in the user database.
    return `uid-${process.getuid?.() ?? 'unknown'}`;
  }
}

function noAnswer(state: string, cause: unknown): InterlockError {
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
    `no control plane serves ${state}: start it with "interlock authority serve", or name its directory with --state`,
    { cause },
  );
}

function problem(answer: unknown): InterlockError {
  const field = (name: string) =>
    typeof answer === 'object' && answer !== null && name in answer ? String(Reflect.get(answer, name)) : '';
  const code = field('code');
  // Object.hasOwn has just said that it is a key of the table.
  const known = Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'unavailable';
  return new InterlockError(
    known,
    field('subject'),
    field('detail') || 'the control plane refused without a reason',
  );
}

import { request } from 'node:http';
import { join, resolve } from 'node:path';
import { InterlockError } from '../../access/index.ts';

/** Name of a proxy's socket in its state directory. */
export const PROXY_SOCKET = 'proxy.sock';
const TIMEOUT_MS = 5000;

/** The proxy on this machine, over its own socket: it answers with everything else down. */
export class LocalProxy {
  readonly #socket: string;

  constructor(state: string, socket: string | undefined) {
    this.#socket = resolve(socket ?? join(state, PROXY_SOCKET));
  }

  /** `waiting`: why it is not in force yet. Throws `unavailable`, `forbidden`, and what the proxy answers. */
  release(order: {
    reason: string;
    workload?: string;
    forMs?: number;
  }): Promise<{ ms: number; waiting?: string }> {
    return this.#post('/v1/release', order);
  }

  arm(): Promise<{ ended: number; waiting?: string }> {
    return this.#post('/v1/arm', {});
  }

  #post<T>(path: string, body: object): Promise<T> {
    return new Promise((resolve, reject) => {
      const call = request({
        socketPath: this.#socket,
        method: 'POST',
        path,
        timeout: TIMEOUT_MS,
        headers: { 'content-type': 'application/json' },
      });
      call.on('timeout', () => call.destroy(new Error('no answer in time')));
      call.on('error', (cause: NodeJS.ErrnoException) => reject(noAnswer(this.#socket, cause)));
      call.on('response', async (response) => {
        try {
          const chunks: Buffer[] = [];
          for await (const chunk of response) chunks.push(chunk as Buffer);
          const answer = JSON.parse(Buffer.concat(chunks).toString());
          if (response.statusCode === 200) resolve(answer as T);
          else reject(new InterlockError('usage', path, String(answer.detail ?? 'the proxy refused')));
        } catch (cause) {
          reject(noAnswer(this.#socket, cause instanceof Error ? cause : new Error(String(cause))));
        }
      });
      call.end(JSON.stringify(body));
    });
  }
}

function noAnswer(socket: string, cause: NodeJS.ErrnoException): InterlockError {
  if (cause.code === 'EACCES' || cause.code === 'EPERM')
    return new InterlockError(
      'forbidden',
      socket,
      `only root, the proxy's user and the group of ${socket} may press the button here`,
      { cause },
    );
  return new InterlockError(
    'unavailable',
    socket,
    `no proxy answers on ${socket}: name its socket with --proxy-socket, or its state directory with --state`,
    { cause },
  );
}

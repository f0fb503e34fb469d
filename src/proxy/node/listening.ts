import { createServer, type Server, type Socket } from 'node:net';
import { addressOf, listen } from '../listen.ts';
import { DEFAULT_LIMITS } from '../settings.ts';
import type { Address } from '../types.ts';

/** A port whose connections are handed on as soon as it is known to whom. */
export class Listening {
  readonly #server: Server;
  /** Connections of which that is not known yet. */
  readonly #waiting = new Set<Socket>();

  private constructor(
    pauseOnConnect: boolean,
    onSocket: (socket: Socket) => Promise<void>,
    onBusy: () => void,
  ) {
    this.#server = createServer(
      { allowHalfOpen: true, noDelay: true, keepAlive: true, pauseOnConnect },
      (socket) => {
        socket.on('error', () => {});
        if (this.#waiting.size >= DEFAULT_LIMITS.connections) {
          onBusy();
          socket.resetAndDestroy();
          return;
        }
        this.#waiting.add(socket);
        const gone = () => this.#waiting.delete(socket);
        socket.once('close', gone);
        void onSocket(socket).finally(() => {
          socket.off('close', gone);
          gone();
        });
      },
    );
  }

  /** Starts to listen; `onSocket` never rejects. Rejects with the system's error. */
  static async open(
    at: Address,
    pauseOnConnect: boolean,
    onSocket: (socket: Socket) => Promise<void>,
    onBusy: () => void,
    onFault: (error: Error) => void,
  ): Promise<Listening> {
    const listening = new Listening(pauseOnConnect, onSocket, onBusy);
    await listen(listening.#server, at);
    listening.#server.on('error', onFault);
    return listening;
  }

  get address(): Address {
    return addressOf(this.#server);
  }

  /** Connections that wait to be handed on. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Takes no new connections; those that wait are cut. */
  close(): void {
    if (this.#server.listening) this.#server.close();
    for (const socket of this.#waiting) socket.destroy();
  }
}

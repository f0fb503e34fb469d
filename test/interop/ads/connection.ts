import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { contextOptions, type X509Svid } from '../../../src/workload/index.ts';

/** As whom a connection is made: with an SVID, over TLS without one, or in plain text. */
export type As = X509Svid | 'nobody' | 'plain';

const PATIENCE_MS = 10_000;

/** One connection, on which several things can be asked one after the other. */
export class Connection {
  readonly socket: Socket;
  /** Sessions that the server offered for resumption. */
  sessions = 0;
  #text = '';
  #isOver = false;
  #news = Promise.withResolvers<void>();

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setTimeout(PATIENCE_MS, () => this.#end());
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1');
      this.#wake();
    });
    socket.on('session', () => this.sessions++);
    socket.on('error', () => this.#end());
    socket.on('close', () => this.#end());
  }

  /** Connects to a loopback port. TLS servers are not verified here: what is looked at is whom they accept. */
  static async open(port: number, as: As, options: { alpn?: string[]; localAddress?: string } = {}) {
    const { alpn, localAddress = '127.0.0.1' } = options;
    const to = { host: '127.0.0.1', port, localAddress };
    const socket =
      as === 'plain'
        ? connectPlain(to)
        : connectTls({
            ...to,
            ...(as === 'nobody' ? {} : contextOptions(as)),
            ...(alpn === undefined ? {} : { ALPNProtocols: alpn }),
            rejectUnauthorized: false,
          });
    const connection = new Connection(socket);
    const event = as === 'plain' ? 'connect' : 'secureConnect';
    await Promise.race([new Promise((resolve) => socket.once(event, resolve)), connection.#over()]);
    return connection;
  }

  get tls(): TLSSocket {
    // Asked only of those that were opened with TLS.
    return this.socket as TLSSocket;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Sends one request and gives its status and body; `status` 0 where the connection ended instead. */
  async request(
    path: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<{ status: number; body: string }> {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    return this.ask(`GET ${path} HTTP/1.1\r\nhost: app\r\n${lines.join('')}\r\n`);
  }

  /** Sends bytes and reads one response of HTTP/1.1. */
  async ask(bytes: string): Promise<{ status: number; body: string }> {
    if (!this.#isOver) this.socket.write(bytes, 'latin1');
    const response = /^HTTP\/1\.[01] (\d{3})[^\r]*\r\n(.*?)\r\n\r\n/s;
    const isWhole = () => {
      const match = response.exec(this.#text);
      const length = Number(/content-length: (\d+)/i.exec(match?.[2] ?? '')?.[1] ?? 0);
      return match === null || this.#text.length < match[0].length + length ? undefined : { match, length };
    };
    await this.until(() => isWhole() !== undefined);
    const whole = isWhole();
    if (whole === undefined) return { status: 0, body: this.#text };
    const start = whole.match[0].length;
    const body = this.#text.slice(start, start + whole.length);
    this.#text = this.#text.slice(start + whole.length);
    return { status: Number(whole.match[1]), body };
  }

  /** Everything that came, once it is enough or the connection is over. */
  async until(isEnough: (text: string) => boolean): Promise<string> {
    while (!this.#isOver && !isEnough(this.#text)) await this.#news.promise;
    return this.#text;
  }

  close(): void {
    this.socket.destroy();
  }

  #over(): Promise<void> {
    return new Promise((resolve) => this.socket.once('close', () => resolve()));
  }

  #end(): void {
    this.#isOver = true;
    this.socket.destroy();
    this.#wake();
  }

  #wake(): void {
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }
}

/** One request on a connection of its own. */
export async function once(port: number, as: As, path = '/', headers: Readonly<Record<string, string>> = {}) {
  const connection = await Connection.open(port, as);
  const answer = await connection.request(path, headers);
  connection.close();
  return answer;
}

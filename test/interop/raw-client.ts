import { connect as connectPlain } from 'node:net';
import { connect, type ConnectionOptions } from 'node:tls';
import type { Certificate } from './certificates.ts';

/** Whom to ask, as whom, from where. */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly localAddress: string;
  /** Absent: TLS without a client certificate. */
  readonly identity?: Certificate;
  /** Without TLS. */
  readonly plain?: true;
}

/** What came back: the bytes, and the parts of an HTTP/1.1 response where it is one. */
export interface Answer {
  readonly bytes: string;
  /** TLS was established: silence after that is an answer. */
  readonly connected: boolean;
  /** The port that it was asked from. */
  readonly localPort: number;
  readonly status?: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/**
 * Sends bytes over TLS as they are, which no HTTP library would, and reads until the other side ends. Tries again
 * where that came to nothing, so that a busy machine does not pass for a denial; `http` wants an HTTP response, and one
 * of a server's own fault (an upstream that was not reached) is none.
 */
export async function sendRaw(target: Target, bytes: string, http: boolean): Promise<Answer> {
  for (let tries = 1; ; tries++) {
    const answer = await sendOnce(target, bytes);
    if (answer.connected && (!http || (answer.status ?? 500) < 500)) return answer;
    if (tries === 5)
      throw new Error(`no answer from ${target.host}:${target.port} to ${JSON.stringify(bytes)}`);
  }
}

function sendOnce({ host, port, localAddress, identity, plain }: Target, bytes: string): Promise<Answer> {
  return new Promise((resolve) => {
    let received = '';
    let connected = false;
    let localPort = 0;
    // localAddress is an option of the TCP connection below, which the type of connect leaves out.
    const options: ConnectionOptions & { localAddress: string } = {
      host,
      port,
      localAddress,
      rejectUnauthorized: false,
      ...(identity === undefined ? {} : { cert: identity.cert, key: identity.key }),
    };
    const socket = plain ? connectPlain({ host, port, localAddress }) : connect(options);
    const done = () => {
      socket.destroy();
      resolve({ ...read(received, connected), localPort });
    };
    socket.setTimeout(3000, done);
    socket.once(plain ? 'connect' : 'secureConnect', () => {
      connected = true;
      localPort = socket.localPort ?? 0;
      socket.write(bytes, 'latin1');
    });
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
      // An echo has no end of its own.
      if (received.length >= bytes.length && received.startsWith(bytes)) done();
    });
    socket.once('error', done);
    socket.once('close', done);
  });
}

/** One HTTP/1.1 request whose target is sent as it stands. */
export function requestBytes(
  method: string,
  target: string,
  host: string,
  headers: Readonly<Record<string, string>> = {},
): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const length = method === 'POST' ? 'content-length: 0\r\n' : '';
  return `${method} ${target} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n${lines.join('')}${length}\r\n`;
}

function read(bytes: string, connected: boolean): Omit<Answer, 'localPort'> {
  const match = /^HTTP\/1\.1 (\d{3})[^\r]*\r\n(.*?)\r\n\r\n(.*)$/s.exec(bytes);
  if (match === null) return { bytes, connected, headers: new Map(), body: '' };
  const [, status, head = '', body = ''] = match;
  const headers = new Map(
    head.split('\r\n').map((line): [string, string] => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  return { bytes, connected, status: Number(status), headers, body };
}

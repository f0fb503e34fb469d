import type { Socket } from 'node:net';

/** Frame types and flags of RFC 9113, section 6. */
export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const NOTHING = Buffer.alloc(0);

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** The bytes of one frame. */
export function frame(type: number, flags: number, stream: number, payload: Buffer = NOTHING): Buffer {
  const bytes = Buffer.alloc(9 + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  payload.copy(bytes, 9);
  return bytes;
}

/** A field block without compression (RFC 7541, section 6.2.2). */
export function block(fields: readonly (readonly [string, string])[]): Buffer {
  const text = (value: string) => {
    const bytes = Buffer.from(value, 'latin1');
    return Buffer.concat([integer(bytes.length, 7, 0), bytes]);
  };
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

function integer(value: number, bits: number, first: number): Buffer {
  const max = 2 ** bits - 1;
  if (value < max) return Buffer.from([first | value]);
  const bytes = [first | max];
  let rest = value - max;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}

export const GET: readonly (readonly [string, string])[] = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':path', '/a'],
  [':authority', 'db'],
];

/** HTTP/2 frame by frame, without a codec that would refuse to send what is wrong. */
export class RawHttp2 {
  readonly frames: Frame[] = [];
  readonly socket: Socket;
  #rest = NOTHING;
  #onFrame = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('close', () => this.#onFrame());
    socket.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0)]));
  }

  send(...frames: readonly Buffer[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(frames));
  }

  /** The first frame of this kind, or undefined where the connection closes before. */
  async first(isIt: (frame: Frame) => boolean): Promise<Frame | undefined> {
    for (;;) {
      const found = this.frames.find(isIt);
      if (found !== undefined || this.socket.destroyed) return found;
      await new Promise<void>((resolve) => {
        this.#onFrame = resolve;
      });
    }
  }

  /** The code of the GOAWAY that ends the connection; 0 where it closes without one. */
  async closing(): Promise<number> {
    const last = await this.first(({ type, payload }) => type === GOAWAY && payload.readUInt32BE(4) !== 0);
    return last?.payload.readUInt32BE(4) ?? 0;
  }

  #take(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    for (;;) {
      if (this.#rest.length < 9) break;
      const length = this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < 9 + length) break;
      const [type = 0, flags = 0] = [this.#rest[3], this.#rest[4]];
      const payload = this.#rest.subarray(9, 9 + length);
      this.frames.push({ type, flags, stream: this.#rest.readUInt32BE(5), payload });
      this.#rest = this.#rest.subarray(9 + length);
    }
    this.#onFrame();
  }
}

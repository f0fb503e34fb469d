import { HeadReader } from './head-reader.ts';
import { RequestHead } from './request-head.ts';

/** What becomes of some bytes: an end of the head and what it says, or a status; `more` where it is not whole. */
export function readRequest(pieces: readonly Buffer[]): string {
  const reader = new HeadReader();
  const head = new RequestHead();
  for (const [i, piece] of pieces.entries()) {
    const end = reader.push(piece);
    if (end === -1) continue;
    if (end === -2) return '431';
    if (end === -3) return '400';
    const fault = head.read(reader.bytes, end);
    if (fault !== undefined) return String(fault.status);
    const rest = [reader.bytes.subarray(end), ...pieces.slice(i + 1)];
    return JSON.stringify([
      head.method,
      head.path,
      head.judgedPath,
      head.minor,
      head.fields.length,
      head.host,
      head.fields.close,
      { ...head.headers },
      Buffer.concat(rest).toString('latin1'),
    ]);
  }
  return 'more';
}

/** A request's bytes: its lines, and the empty one. */
export function lines(...all: readonly string[]): Buffer {
  return Buffer.from(`${all.join('\r\n')}\r\n\r\n`, 'latin1');
}

import type { Fields } from './fields.ts';

const NOTHING = Buffer.alloc(0);

/** A head as it is sent on, from the bytes it came in. */
export interface Assembly {
  readonly bytes: Buffer;
  /** Where the head begins, its first line ends and its empty line ends. */
  readonly start: number;
  readonly fieldsStart: number;
  readonly end: number;
  readonly fields: Fields;
  /** The first line where another one is sent; with its line end. */
  readonly line?: Buffer | undefined;
  /** Field lines to add. */
  readonly added?: Buffer | undefined;
  /** Says nothing of the connection's staying: the line is cut. */
  readonly dropsKeepAlive?: boolean;
  /** The part of the body that is there already. */
  readonly body?: Buffer | undefined;
}

/** The head and what is there of the body, in one piece: one write, one TLS record where it fits. */
export function assemble(from: Assembly): Buffer {
  const { bytes, start, fieldsStart, end, fields, line, added = NOTHING, body = NOTHING } = from;
  const dropsKeep = from.dropsKeepAlive === true && fields.keepEnd > 0;
  const { cuts } = fields;
  if (cuts.length === 0 && !dropsKeep && line === undefined && added.length === 0) {
    // As it came; where the body follows in the same chunk, all of it is one view.
    const follows =
      body.length === 0 || (body.buffer === bytes.buffer && body.byteOffset === bytes.byteOffset + end);
    if (follows) return bytes.subarray(start, end + body.length);
  }
  const lineLength = line === undefined ? fieldsStart - start : line.length;
  const out = Buffer.allocUnsafe(lineLength + added.length + (end - fieldsStart) + body.length);
  let at = 0;
  if (line === undefined) at += bytes.copy(out, 0, start, fieldsStart);
  else at += line.copy(out, 0);
  at += added.copy(out, at);
  let from_ = fieldsStart;
  let kept = dropsKeep;
  for (let i = 0; i <= cuts.length; i += 2) {
    const cut = i < cuts.length ? (cuts[i] as number) : end;
    if (kept && fields.keepStart < cut) {
      at += bytes.copy(out, at, from_, fields.keepStart);
      from_ = fields.keepEnd;
      kept = false;
    }
    at += bytes.copy(out, at, from_, cut);
    from_ = cuts[i + 1] ?? end;
  }
  at += body.copy(out, at);
  return at === out.length ? out : out.subarray(0, at);
}

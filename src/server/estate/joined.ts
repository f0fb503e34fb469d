/** Characters that are made into bytes in one step. */
const MOST = 64 * 1024;

/** Texts with commas between, in the bytes of UTF-8; a text in a step. */
export function* joined<T>(
  things: Iterable<T>,
  textOf: (thing: T) => string,
): Generator<void, Uint8Array<ArrayBuffer>> {
  const parts: Buffer[] = [];
  let texts: string[] = [];
  let length = 0;
  for (const thing of things) {
    const text = textOf(thing);
    texts.push(text);
    length += text.length;
    if (length > MOST) {
      parts.push(Buffer.from(`${texts.join(',')},`));
      texts = [];
      length = 0;
    }
    yield;
  }
  // Of the last comma there is one too many where nothing follows.
  if (texts.length === 0 && parts.length > 0) parts.push(parts.pop()?.subarray(0, -1) ?? Buffer.of());
  else parts.push(Buffer.from(texts.join(',')));
  return bytesOf(parts);
}

/** One after the other, in memory of its own. */
export function bytesOf(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

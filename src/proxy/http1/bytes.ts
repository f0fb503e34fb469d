/** Bytes that HTTP/1.1 gives a meaning to (RFC 9112). */
export const CR = 0x0d;
export const LF = 0x0a;
export const SP = 0x20;
export const HT = 0x09;
export const DASH = 0x2d;
export const COLON = 0x3a;
export const SEMICOLON = 0x3b;

/** What a byte may stand for in a head; one lookup a byte. */
export const TOKEN = 1;
/** Of a field's value: visible, space, tab, and bytes above ASCII (RFC 9110 section 5.5). */
export const VALUE = 2;
/** Of a request target: visible ASCII, without the "#" that begins what no client sends (RFC 9112 section 3.2). */
export const TARGET = 4;
/** Of a Host field: uri-host and port (RFC 3986 section 3.2.2), no userinfo. */
export const HOST = 8;
export const DIGIT = 16;

/** The classes of each byte. */
export const CLASSES = new Uint8Array(256);

/**
 * The byte in lower case, and all that is neither letter nor digit as "-": frameworks that name headers like variables
 * cannot tell "-" from "_", PHP not even from ".", and CGI from nothing else.
 */
export const FOLDED = new Uint8Array(256);

for (let c = 0; c < 256; c++) {
  FOLDED[c] = c >= 0x41 && c <= 0x5a ? c + 32 : c;
  if ((c >= 0x20 && c !== 0x7f) || c === HT) mark(c, VALUE);
  if (c > 0x20 && c < 0x7f && c !== 0x23) mark(c, TARGET);
  if (c >= 0x30 && c <= 0x39) mark(c, DIGIT | TOKEN | HOST);
  if ((c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a)) mark(c, TOKEN | HOST);
}
// RFC 9110 section 5.6.2.
for (const c of "!#$%&'*+-.^_`|~") {
  mark(c.charCodeAt(0), TOKEN);
  FOLDED[c.charCodeAt(0)] = 0x2d;
}
for (const c of "-._~!$&'()*+,;=%:[]") mark(c.charCodeAt(0), HOST);

function mark(c: number, kind: number): void {
  CLASSES[c] = (CLASSES[c] as number) | kind;
}

/** The name, folded, as bytes to compare with. */
export function foldedName(name: string): Uint8Array {
  return Uint8Array.from(Buffer.from(name, 'latin1'), (c) => FOLDED[c] as number);
}

/** Whether the bytes at `start` are this folded name; the caller has compared the lengths. */
export function isName(bytes: Uint8Array, start: number, name: Uint8Array): boolean {
  for (let i = 0; i < name.length; i++) {
    if (FOLDED[bytes[start + i] as number] !== name[i]) return false;
  }
  return true;
}

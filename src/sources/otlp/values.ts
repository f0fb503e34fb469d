/** Attributes read of one span or resource; more are left unread (OpenTelemetry's own default limit is 128). */
export const MAX_ATTRIBUTES = 512;
/** Longest name kept (services, operations, hosts), in UTF-16 units. */
export const MAX_NAME_LENGTH = 512;

/** A JSON object as outside input: every field unknown. */
export type Outside = Readonly<Record<string, unknown>>;

/** The value as an object that is no array, else undefined. */
export function objectOf(value: unknown): Outside | undefined {
  // A cast after the check: every field stays unknown.
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Outside)
    : undefined;
}

/** The value as an array, else an empty one. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** True where no character would move a terminal's cursor or end a line. */
export function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return false;
  }
  return true;
}

/** A plain, non-empty text of at most `max` characters out of an AnyValue, else undefined. */
export function textOf(any: unknown, max = MAX_NAME_LENGTH): string | undefined {
  const text = objectOf(any)?.['stringValue'];
  if (typeof text !== 'string' || text === '' || text.length > max) return undefined;
  return isPlain(text) ? text : undefined;
}

/** A finite number out of an AnyValue (64-bit integers are strings in OTLP/JSON), else undefined. */
export function numberOf(any: unknown): number | undefined {
  const value = objectOf(any);
  const raw = value?.['intValue'] ?? value?.['doubleValue'] ?? value?.['stringValue'];
  if (typeof raw !== 'number' && (typeof raw !== 'string' || raw === '' || raw.length > 32)) return undefined;
  const number = Number(raw);
  return Number.isFinite(number) ? number : undefined;
}

/** A port (1 to 65535) out of an AnyValue, else undefined. */
export function portOf(any: unknown): number | undefined {
  const port = numberOf(any);
  return port !== undefined && Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined;
}

/** Calls `visit` with the key and AnyValue of each attribute, up to {@link MAX_ATTRIBUTES}. */
export function eachAttribute(attributes: unknown, visit: (key: string, value: unknown) => void): void {
  let left = MAX_ATTRIBUTES;
  for (const item of listOf(attributes)) {
    if (left-- === 0) return;
    const attribute = objectOf(item);
    const key = attribute?.['key'];
    if (typeof key === 'string') visit(key, attribute?.['value']);
  }
}

const HEX = /^[0-9a-f]+$/;
const ZEROS = /^0+$/;

/**
 * An id of `bytes` bytes as lower-case hex: from hex (OTLP/JSON), or from base64 as protobuf's own JSON mapping
 * writes it. `''` for an absent or all-zero id, undefined for one that is no id.
 */
export function idOf(raw: unknown, bytes: number): string | undefined {
  if (raw === undefined || raw === null || raw === '') return '';
  if (typeof raw !== 'string') return undefined;
  let hex = raw;
  if (raw.length !== bytes * 2) {
    if (raw.length !== Math.ceil(bytes / 3) * 4) return undefined;
    const decoded = Buffer.from(raw, 'base64');
    if (decoded.length !== bytes) return undefined;
    hex = decoded.toString('hex');
  } else if (!HEX.test(hex)) {
    hex = raw.toLowerCase();
    if (!HEX.test(hex)) return undefined;
  }
  return ZEROS.test(hex) ? '' : hex;
}

const DIGITS = /^\d{7,20}$/;

/** Nanoseconds since 1970 (string or number) as whole milliseconds, or undefined where absent, zero or no time. */
export function millisOf(raw: unknown): number | undefined {
  // Cutting six digits divides by a million without the detour through BigInt.
  if (typeof raw === 'string') {
    const at = DIGITS.test(raw) ? Number(raw.slice(0, -6)) : 0;
    return at > 0 ? at : undefined;
  }
  if (typeof raw !== 'number' || !Number.isFinite(raw)) return undefined;
  const at = Math.floor(raw / 1e6);
  return at > 0 ? at : undefined;
}

/** Whether JSON text nests at most `max` deep, found without building it. */
export function nestsWithin(bytes: Uint8Array, max: number): boolean {
  let depth = 0;
  for (let i = 0; i < bytes.length; i++) {
    const c = bytes[i];
    if (c === 0x22) {
      for (i++; i < bytes.length && bytes[i] !== 0x22; i++) if (bytes[i] === 0x5c) i++;
    } else if (c === 0x7b || c === 0x5b) {
      if (++depth > max) return false;
    } else if (c === 0x7d || c === 0x5d) depth--;
  }
  return true;
}

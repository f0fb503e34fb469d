import { isInterlockError } from '../../access/index.ts';
import { readJsonObject } from '../bundle/json.ts';
import { JwtSvidError } from './fault.ts';

/** Largest token that is read or made, in bytes; HTTP servers take headers of 8 to 16 KiB. */
export const MAX_JWT_BYTES = 16 * 1024;
const MAX_DEPTH = 16;

/** How errors name a token of which nothing is proven yet. */
export const UNPROVEN = 'JWT-SVID';

/** A JSON object out of a token. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** The header and payload segments of a compact JWS (RFC 7515 section 3.1), decoded; nothing is proven yet. */
export function splitToken(token: string): { header: JsonObject; payload: Buffer } {
  if (token.length > MAX_JWT_BYTES) {
    throw new JwtSvidError('too_large', UNPROVEN, `it is larger than ${MAX_JWT_BYTES} bytes`);
  }
  // The limit is one more than a JWE has: a token of a thousand dots is not cut up.
  const parts = token.split('.', 6);
  if (parts.length === 5) throw new JwtSvidError('encrypted', UNPROVEN, 'it is encrypted (JWE)');
  const [header, payload, signature] = parts;
  if (parts.length !== 3 || header === undefined || payload === undefined || signature === undefined) {
    throw new JwtSvidError('malformed', UNPROVEN, 'it is not three parts with dots between them');
  }
  decodeSegment(signature);
  return { header: readSegment(decodeSegment(header)), payload: decodeSegment(payload) };
}

/** The JSON object in a decoded segment. Throws `malformed` or `too_large`. */
export function readSegment(octets: Uint8Array): JsonObject {
  try {
    return readJsonObject(octets, {
      code: 'invalid_token',
      subject: UNPROVEN,
      what: 'one of its parts',
      maxBytes: MAX_JWT_BYTES,
      maxDepth: MAX_DEPTH,
    });
  } catch (error) {
    if (!isInterlockError(error)) throw error;
    throw new JwtSvidError(error.code === 'limit' ? 'too_large' : 'malformed', UNPROVEN, error.message);
  }
}

/** Only canonical text: with spare bits set, several tokens would carry the same signature (RFC 4648 section 3.5). */
function decodeSegment(text: string): Buffer {
  const octets = Buffer.from(text, 'base64url');
  if (text === '' || octets.toString('base64url') !== text) {
    throw new JwtSvidError('malformed', UNPROVEN, 'a part of it is not base64url');
  }
  return octets;
}

import { foldedName } from './bytes.ts';

/** What a Connection field asks for (RFC 9110 section 7.6.1). */
export interface ConnectionTokens {
  readonly close: boolean;
  readonly keepAlive: boolean;
  readonly upgrades: boolean;
  /** Only `keep-alive`: the line may go on as it is. */
  readonly plain: boolean;
  /** Names of fields that are to go no further. */
  readonly named: readonly Uint8Array[];
}

/** Most names of all Connection fields of a head; each costs a look at every field. */
export const MAX_TOKENS = 16;
export const TOO_MANY_TOKENS = `Connection with more than ${MAX_TOKENS} names`;

/**
 * Fields that a message is understood by. A sender that has them taken out on the way would have the next hop read
 * another message than this one.
 */
const NEVER_NAMED = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'content-type',
  'authorization',
  'cookie',
  'expect',
  'x-forwarded-client-cert',
]);

const PLAIN: ConnectionTokens = { close: false, keepAlive: true, upgrades: false, plain: true, named: [] };
const CLOSE: ConnectionTokens = { close: true, keepAlive: false, upgrades: false, plain: false, named: [] };

/** Reads the value between two offsets, or gives what is wrong with it. */
export function connectionTokens(bytes: Buffer, start: number, end: number): ConnectionTokens | string {
  const text = bytes.toString('latin1', start, end).toLowerCase();
  if (text === 'keep-alive') return PLAIN;
  if (text === 'close') return CLOSE;
  const tokens = text.split(',', MAX_TOKENS + 1).map((token) => token.trim());
  if (tokens.length > MAX_TOKENS) return TOO_MANY_TOKENS;
  const named: Uint8Array[] = [];
  for (const token of tokens) {
    if (token === '' || token === 'close' || token === 'keep-alive' || token === 'upgrade') continue;
    const name = foldedName(token);
    if (NEVER_NAMED.has(Buffer.from(name).toString('latin1'))) return `Connection that names ${token}`;
    named.push(name);
  }
  return {
    close: tokens.includes('close'),
    keepAlive: tokens.includes('keep-alive'),
    upgrades: tokens.includes('upgrade'),
    plain: false,
    named,
  };
}

import { createHmac, randomBytes } from 'node:crypto';

/** How the text form of a secret begins: what follows is base64. */
const PREFIX = 'whsec_';
/** Bytes of a secret, as Standard Webhooks bounds them. */
const LEAST_BYTES = 24;
const MOST_BYTES = 64;

/** A new secret in its text form. */
export function newSecret(): string {
  return `${PREFIX}${randomBytes(32).toString('base64')}`;
}

/**
 * The bytes of a secret: behind `whsec_` they are base64, any other text stands for its own bytes. Undefined for what has
 * fewer than 24 or more than 64 bytes.
 */
export function secretBytes(text: string): Buffer | undefined {
  const isEncoded = text.startsWith(PREFIX);
  const coded = text.slice(PREFIX.length);
  if (isEncoded && !/^[A-Za-z0-9+/]+={0,2}$/.test(coded)) return undefined;
  const bytes = isEncoded ? Buffer.from(coded, 'base64') : Buffer.from(text);
  return bytes.length >= LEAST_BYTES && bytes.length <= MOST_BYTES ? bytes : undefined;
}

/**
 * The headers that let a receiver verify who has sent a body, and when: Standard Webhooks 1.0.0, symmetric signatures
 * ("v1": HMAC-SHA256 over `ID.SECONDS.BODY`), one for each secret, so that secrets can be changed without a gap.
 * https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export function signedHeaders(
  secrets: readonly Buffer[],
  { id, now, body }: { readonly id: string; readonly now: number; readonly body: string },
): Readonly<Record<string, string>> {
  const timestamp = String(Math.floor(now / 1000));
  const signatures = secrets.map(
    (secret) => `v1,${createHmac('sha256', secret).update(`${id}.${timestamp}.${body}`).digest('base64')}`,
  );
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.join(' '),
  };
}

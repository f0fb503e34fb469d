import { hash, randomBytes } from 'node:crypto';

const BYTES = 32;
/** 32 bytes in base64url. */
const SECRET = /^[A-Za-z0-9_-]{43}$/;

/** 32 random bytes as text: a session's, a link's. It leaves the process once and is kept nowhere. */
export function newSecret(): string {
  return randomBytes(BYTES).toString('base64url');
}

/**
 * What is kept of a secret, its SHA-256 in hex, or undefined for what can be none. Looking a hash up takes no longer for
 * one that is nearly right: the time tells nothing of the secret.
 */
export function secretHash(secret: string): string | undefined {
  return SECRET.test(secret) ? hash('sha256', secret, 'hex') : undefined;
}

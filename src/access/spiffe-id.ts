import { InterlockError } from './error.ts';

declare const brand: unique symbol;
/** A SPIFFE ID that was checked by {@link parseSpiffeId}; comparable as a string. */
export type SpiffeId = string & { readonly [brand]: 'SpiffeId' };

/** SPIFFE-ID.md section 2.3: implementations must support IDs of up to 2048 bytes; longer ones are refused. */
export const MAX_SPIFFE_ID_BYTES = 2048;
/** SPIFFE-ID.md section 2.1: a trust domain name has at most 255 bytes. */
export const MAX_TRUST_DOMAIN_BYTES = 255;

const TRUST_DOMAIN = /^[a-z0-9._-]+$/;
const SEGMENT = /^[A-Za-z0-9._-]+$/;

/** The trust domain name itself, checked. Throws `invalid_identity`. */
export function parseTrustDomain(name: string): string {
  const reason = trustDomainFault(name);
  if (reason === undefined) return name;
  throw new InterlockError(
    'invalid_identity',
    clip(name),
    `"${clip(name)}" is not a trust domain: ${reason}`,
  );
}

function trustDomainFault(name: string): string | undefined {
  if (name.length === 0) return 'a trust domain is missing';
  if (name.length > MAX_TRUST_DOMAIN_BYTES) {
    return `a trust domain has at most ${MAX_TRUST_DOMAIN_BYTES} bytes`;
  }
  if (TRUST_DOMAIN.test(name)) return undefined;
  return 'a trust domain holds only lower-case letters, digits, ".", "-" and "_"';
}

/** The ID, checked against SPIFFE-ID.md section 2. Throws `invalid_identity` with the reason. */
export function parseSpiffeId(text: string): SpiffeId {
  if (!text.startsWith('spiffe://')) throw invalid(text, 'it does not start with "spiffe://"');
  if (text.length > MAX_SPIFFE_ID_BYTES)
    throw invalid(text, `it is longer than ${MAX_SPIFFE_ID_BYTES} bytes`);
  const slash = text.indexOf('/', 9);
  const fault = trustDomainFault(slash < 0 ? text.slice(9) : text.slice(9, slash));
  if (fault !== undefined) throw invalid(text, fault);
  if (slash < 0) return text as SpiffeId;
  for (const segment of text.slice(slash + 1).split('/')) {
    if (segment === '') throw invalid(text, 'its path has an empty segment or a trailing "/"');
    if (segment === '.' || segment === '..') throw invalid(text, 'its path has a "." or ".." segment');
    if (!SEGMENT.test(segment)) {
      throw invalid(
        text,
        `its path segment "${clip(segment)}" has a character outside letters, digits, ".", "-", "_"`,
      );
    }
  }
  return text as SpiffeId;
}

/** The ID when `text` is one, else undefined: for data where other forms may stand in the same field. */
export function spiffeIdOf(text: string): SpiffeId | undefined {
  if (!text.startsWith('spiffe://')) return undefined;
  try {
    return parseSpiffeId(text);
  } catch {
    return undefined;
  }
}

/** The trust domain of a checked ID. */
export function trustDomainOf(id: SpiffeId): string {
  const slash = id.indexOf('/', 9);
  return slash < 0 ? id.slice(9) : id.slice(9, slash);
}

/** The path of a checked ID with its leading "/", or "" for a trust domain's own ID. */
export function pathOf(id: SpiffeId): string {
  const slash = id.indexOf('/', 9);
  return slash < 0 ? '' : id.slice(slash);
}

/** The last path segment, or the trust domain where there is no path: the short name people use. */
export function shortNameOf(id: SpiffeId): string {
  return id.slice(id.lastIndexOf('/') + 1);
}

/** Namespace and service account of an ID of the form /ns/NAMESPACE/sa/ACCOUNT (Istio's and our convention). */
export function kubernetesNameOf(id: SpiffeId): { namespace: string; serviceAccount: string } | undefined {
  const match = /^\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(pathOf(id));
  return match === null ? undefined : { namespace: match[1] as string, serviceAccount: match[2] as string };
}

function clip(text: string): string {
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function invalid(text: string, reason: string): InterlockError {
  return new InterlockError('invalid_identity', clip(text), `"${clip(text)}" is not a SPIFFE ID: ${reason}`);
}

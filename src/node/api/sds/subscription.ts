import { status } from '@grpc/grpc-js';
import type { WorkloadState } from '../../workloads/workload-book.ts';
import { fault } from '../status.ts';
import { type NamedSecret, secretOf, type SecretStyle, SECRET_TYPE } from './secrets.ts';

/** What one stream of a proxy asked for, and was told. Two protocols, one behaviour. */
export interface Subscription<Request, Response> {
  /** Takes a request in. Throws a fault that ends the stream. Gives why the proxy refused what it was sent, if it did. */
  request(request: Request): string | undefined;
  /** What is to be sent now, if anything. Throws a fault where the proxy asks for what is not its own. */
  response(state: WorkloadState): Response | undefined;
}

/** Names a proxy may ask for on one stream, and their length: a SPIFFE ID's. */
export const MAX_NAMES = 1000;
export const MAX_NAME_LENGTH = 2048;
/** How much of a proxy's own words stands in a log line. */
const MAX_WORDS = 200;

/** The secrets of the names; waits (undefined) for those that are being signed, and refuses what is not the proxy's. */
export function secretsOf(
  state: WorkloadState,
  names: readonly string[],
  style: SecretStyle,
): NamedSecret[] | undefined {
  const secrets = names.map((name) => secretOf(state, name, style));
  const found = secrets.filter((secret) => secret !== undefined);
  if (found.length === names.length) return found;
  if (state.missing === 'waiting' || state.missing === 'refused') return undefined;
  throw fault(status.INVALID_ARGUMENT, 'workload is not authorized for the requested identities');
}

/** Refuses a request for resources of another type, or for too many; `before`: the names that the stream has already. */
export function assertRequest(typeUrl: string, names: readonly string[], before = 0): void {
  if (typeUrl !== '' && typeUrl !== SECRET_TYPE) {
    throw fault(status.INVALID_ARGUMENT, `this serves ${SECRET_TYPE}, not ${typeUrl.slice(0, 200)}`);
  }
  if (before + names.length > MAX_NAMES) {
    throw fault(status.RESOURCE_EXHAUSTED, `more than ${MAX_NAMES} secrets on one stream`);
  }
  if (names.some((name) => name.length > MAX_NAME_LENGTH)) {
    throw fault(status.INVALID_ARGUMENT, 'a name is longer than a SPIFFE ID can be');
  }
}

/** Why the proxy refused what it was sent, cut to what a log line bears. */
export function refusalOf(errorDetail: { readonly message: string } | undefined): string | undefined {
  return errorDetail?.message.slice(0, MAX_WORDS);
}

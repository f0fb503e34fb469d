import { status } from '@grpc/grpc-js';
import type { coreBase } from '../../../proto/index.ts';
import type { WorkloadState } from '../../workloads/workload-book.ts';
import { fault } from '../status.ts';
import { type NamedSecret, secretOf, SECRET_TYPE, styleFor } from './secrets.ts';

/** What one stream of a proxy asked for, and was told. Two protocols, one behaviour. */
export interface Subscription<Request, Response> {
  /** Takes a request in. Throws a fault that ends the stream. Gives why the proxy refused what it was sent, if it did. */
  request(request: Request): string | undefined;
  /** What is to be sent now, if anything. Throws a fault where the proxy asks for what is not its own. */
  response(state: WorkloadState): Response | undefined;
}

/** Names a proxy may ask for on one stream. */
export const MAX_NAMES = 1000;

/** The secrets of the names; waits (undefined) for those that are being signed, and refuses what is not the proxy's. */
export function secretsOf(
  state: WorkloadState,
  names: readonly string[],
  node: coreBase.Node | undefined,
): NamedSecret[] | undefined {
  const style = styleFor(node);
  const secrets = names.map((name) => secretOf(state, name, style));
  const found = secrets.filter((secret) => secret !== undefined);
  if (found.length === names.length) return found;
  if (state.missing === 'waiting' || state.missing === 'refused') return undefined;
  throw fault(status.INVALID_ARGUMENT, 'workload is not authorized for the requested identities');
}

/** Refuses a request for resources of another type, or for too many. */
export function assertRequest(typeUrl: string, names: number): void {
  if (typeUrl !== '' && typeUrl !== SECRET_TYPE) {
    throw fault(status.INVALID_ARGUMENT, `this serves ${SECRET_TYPE}, not ${typeUrl.slice(0, 200)}`);
  }
  if (names > MAX_NAMES) {
    throw fault(status.RESOURCE_EXHAUSTED, `more than ${MAX_NAMES} secrets on one stream`);
  }
}

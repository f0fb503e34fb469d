import { type Metadata, status } from '@grpc/grpc-js';

/** SPIFFE_Workload_Endpoint.md, section 5.2: a browser or proxy that is made to send requests cannot add it. */
export const SECURITY_HEADER = 'workload.spiffe.io';

/**
 * Refuses a call without the header `workload.spiffe.io: true`, or with more than one, as the standard says: with
 * InvalidArgument, after which clients do not ask again.
 */
export function assertSecurityHeader(metadata: Metadata): void {
  const [value, ...others] = metadata.get(SECURITY_HEADER);
  if (value === 'true' && others.length === 0) return;
  const details = 'security header missing from request';
  throw Object.assign(new Error(details), { code: status.INVALID_ARGUMENT, details });
}

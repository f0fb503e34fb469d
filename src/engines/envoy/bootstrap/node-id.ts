import { InterlockError, type SpiffeId, spiffeIdOf } from '../../../access/index.ts';

/** One Envoy: whom it serves, and which of the proxies of that workload it is. */
export interface EnvoyNode {
  readonly workload: SpiffeId;
  /** Stable over restarts: the share of a canary hashes it. Letters, digits, ".", "_", "-". */
  readonly instance: string;
}

const INSTANCE = /^[A-Za-z0-9._-]{1,128}$/;

/** The ID by which Envoy names itself: `SPIFFE-ID#INSTANCE`. A SPIFFE ID has no "#". Throws `usage`. */
export function nodeId({ workload, instance }: EnvoyNode): string {
  if (INSTANCE.test(instance)) return `${workload}#${instance}`;
  const shown = instance.slice(0, 80);
  throw new InterlockError(
    'usage',
    shown,
    `"${shown}" is no instance: up to 128 letters, digits, ".", "_" and "-"`,
  );
}

/**
 * What {@link nodeId} wrote, or undefined for any other text. It is the proxy's own word: whom it may serve is judged
 * by the certificate of its connection.
 */
export function parseNodeId(text: string): EnvoyNode | undefined {
  const at = text.indexOf('#');
  const workload = spiffeIdOf(text.slice(0, Math.max(0, at)));
  const instance = text.slice(at + 1);
  return workload === undefined || !INSTANCE.test(instance) ? undefined : { workload, instance };
}

import type { GivenIdentity } from '../../identity/index.ts';
import type { SpiffeId } from '../../access/index.ts';

/** An X509-SVID with its key, as the agent serves and keeps it. */
export interface HeldSvid {
  readonly spiffeId: SpiffeId;
  /** Lower-case hex. */
  readonly serial: string;
  /** DER, the leaf first, without the root. */
  readonly chain: readonly Buffer[];
  /** PKCS#8 DER. */
  readonly key: Buffer;
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Which authority signed it, as the control plane names it. */
  readonly authority: string;
}

/** Identities that share one SVID: the same rule gives them the same names. */
export function svidKey({ rule, spiffeId, dnsNames, authority }: GivenIdentity): string {
  return JSON.stringify([rule, spiffeId, dnsNames, authority ?? '']);
}

/** When the SVID is renewed: half of its life, give or take a tenth of it, so that SVIDs of one moment spread. */
export function renewalTime(svid: Pick<HeldSvid, 'notBefore' | 'notAfter'>, random: number): number {
  const life = svid.notAfter - svid.notBefore;
  return svid.notBefore + life * (0.45 + 0.1 * random);
}

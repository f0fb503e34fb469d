import type { RandomBytes, Signer } from '../keys/index.ts';
import type { Certificate } from './certificate.ts';
import { type CertificateRequest, verifyRequest } from './request.ts';
import { signCertificate } from './sign.ts';
import {
  type AuthorityOptions,
  authorityTemplate,
  type LeafOptions,
  leafTemplate,
  newSerial,
} from './template.ts';
import { checkIssued } from './validate.ts';

/** An X509-SVID to be issued: what {@link leafTemplate} takes, with the request in place of its key. */
export interface IssueOptions extends Omit<LeafOptions, 'spki' | 'serial'> {
  readonly request: CertificateRequest;
  /** Of the issuer's key. */
  readonly signer: Signer;
  readonly random: RandomBytes;
}

/**
 * Issues an X509-SVID in three steps: template, sign, check. Nothing is signed before the request proved that it has
 * its key, and nothing leaves before it was read back and its signature checked; both signatures in the thread pool.
 */
export async function issueX509(options: IssueOptions): Promise<Certificate> {
  const { request, signer, random, ...said } = options;
  const template = leafTemplate({ ...said, spki: request.spki, serial: newSerial(random) });
  await verifyRequest(request);
  return checkIssued(signCertificate(template, signer), template);
}

/** An authority's certificate to be issued: for a request, or for the signer's own key where there is no issuer. */
export interface IssueAuthorityOptions extends Omit<AuthorityOptions, 'spki' | 'serial'> {
  /** Absent for a root. */
  readonly request?: CertificateRequest | undefined;
  readonly signer: Signer;
  readonly random: RandomBytes;
}

/** Issues an authority's certificate in the same three steps: an intermediate for a request, or a root for its own key. */
export async function issueAuthority(options: IssueAuthorityOptions): Promise<Certificate> {
  const { request, signer, random, ...said } = options;
  if ((request === undefined) !== (said.issuer === undefined))
    throw new TypeError('an intermediate has an issuer and a request, a root neither');
  const spki = request?.spki ?? signer.spki;
  const template = authorityTemplate({ ...said, spki, serial: newSerial(random) });
  if (request !== undefined) await verifyRequest(request);
  return checkIssued(signCertificate(template, signer), template);
}

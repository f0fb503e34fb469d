export {
  type Certificate,
  MAX_CERTIFICATE_BYTES,
  parseCertificate,
  parseCertificates,
} from './certificate.ts';
export { KEY_USAGE, MAX_PREFIXES } from './extensions.ts';
export { CertificateError, X509_FAULTS, type X509Fault } from './fault.ts';
export { issueAuthority, type IssueAuthorityOptions, type IssueOptions, issueX509 } from './issue.ts';
export { type IssuerInfo, issuerOf } from './issuer.ts';
export {
  type CertificateRequest,
  createRequest,
  parseRequest,
  type RequestOptions,
  verifyRequest,
} from './request.ts';
export { signCertificate } from './sign.ts';
export {
  type AuthorityOptions,
  authorityTemplate,
  type CertificateTemplate,
  type LeafOptions,
  leafTemplate,
  newSerial,
} from './template.ts';
export { checkIssued, checkIssuedFields } from './validate.ts';
export type { Scopes } from './checks.ts';
export {
  type Crl,
  CRL_REASONS,
  type CrlOptions,
  type CrlReason,
  createCrl,
  parseCrl,
  type RevokedCertificate,
} from './crl.ts';
export { certificatesFromPem, certificateToPem, pem } from './pem.ts';
export {
  MAX_CHAIN,
  type VerifiedX509Svid,
  verifyX509Svid,
  type VerifyX509Options,
  type X509Bundles,
} from './verify.ts';
export { assertNotRevoked } from './revocation.ts';
export { createPkcs12, type Pkcs12Options } from './pkcs12.ts';
export { isCrlOfAny, verifyCrl, type VerifyCrlOptions } from './verify-crl.ts';

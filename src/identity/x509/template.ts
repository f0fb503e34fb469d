import {
  InterlockError,
  parseSpiffeId,
  parseTrustDomain,
  pathOf,
  type SpiffeId,
  trustDomainOf,
} from '../../access/index.ts';
import { bufferOf, MAX_TIME } from '../der/index.ts';
import { keyIdBytes, type RandomBytes, rowOfSpki } from '../keys/index.ts';
import { arePrefixesInside, isInside, prefixFault } from '../prefixes.ts';
import { MAX_PREFIXES } from './extensions.ts';
import type { IssuerInfo } from './issuer.ts';
import { encodeName, MAX_COMMON_NAME } from './name.ts';

/** What is to be signed, decided in full before it is written; {@link checkIssued} holds the result against it. */
export interface CertificateTemplate {
  readonly kind: 'leaf' | 'authority';
  /** 16 bytes, positive. */
  readonly serial: Buffer;
  readonly issuerName: Buffer;
  readonly subjectName: Buffer;
  /** Whole seconds, in milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Buffer;
  readonly spiffeId: SpiffeId;
  readonly dnsNames: readonly string[];
  readonly subjectKeyId: Buffer;
  /** Undefined for a root, which signs itself. */
  readonly issuer: IssuerInfo | undefined;
  /** Of an authority: how many authorities may stand below it; undefined for any number. */
  readonly pathLength: number | undefined;
  /** Of an authority: the path prefixes it may speak for; undefined for all. */
  readonly prefixes: readonly string[] | undefined;
}

/** What an X509-SVID is to say. */
export interface LeafOptions {
  readonly spiffeId: SpiffeId;
  /** Of the workload's key. */
  readonly spki: Buffer;
  /** Milliseconds since 1970, cut down to seconds, and to the issuer's own validity. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly dnsNames?: readonly string[];
  /** From {@link newSerial}. */
  readonly serial: Buffer;
  readonly issuer: IssuerInfo;
}

/** DNS names in one certificate. */
const MAX_DNS_NAMES = 100;
/** RFC 1123 section 2.1: letters, digits and hyphens in labels of up to 63 bytes; 253 bytes in all (RFC 1035). */
const DNS_NAME =
  /^(?=.{1,253}$)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/;

/** Subject of an SVID without DNS names. It names nobody: the ID is in the URI. */
const PLAIN_SUBJECT = encodeName([['organization', 'Interlock']]);

/** The template of an X509-SVID. Throws `forbidden` outside the issuer's domain or prefixes, `conflict` outside its time. */
export function leafTemplate(options: LeafOptions): CertificateTemplate {
  const { spiffeId, spki, issuer, serial } = options;
  const dnsNames = options.dnsNames ?? [];
  if (pathOf(spiffeId) === '') throw refused(spiffeId, "is a trust domain's own ID; a workload's has a path");
  checkDomain(spiffeId, trustDomainOf(spiffeId), issuer);
  for (const scope of issuer.scopes) {
    if (!isInside(spiffeId, scope)) {
      throw refused(
        spiffeId,
        `lies outside the path prefixes of its authority, ${scope.join(', ') || 'which are none'}`,
      );
    }
  }
  checkKey(spki, spiffeId);
  checkDnsNames(dnsNames, spiffeId);
  const { notBefore, notAfter } = validity(options, spiffeId, issuer);
  return {
    kind: 'leaf',
    serial: checkSerial(serial),
    issuerName: issuer.name,
    subjectName: leafSubject(dnsNames),
    notBefore,
    notAfter,
    spki,
    spiffeId,
    dnsNames,
    subjectKeyId: keyIdBytes(spki),
    issuer,
    pathLength: undefined,
    prefixes: undefined,
  };
}

/** What an authority's certificate is to say. */
export interface AuthorityOptions {
  /** Its bare name. */
  readonly trustDomain: string;
  /** Of the authority's key. */
  readonly spki: Buffer;
  /** Milliseconds since 1970, cut down to seconds, and to the issuer's own validity. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly serial: Buffer;
  /** Absent for a root, which signs itself. */
  readonly issuer?: IssuerInfo | undefined;
  /** How many authorities may stand below it; absent for as many as the issuer allows. */
  readonly pathLength?: number | undefined;
  /** Absent for no limit, which a limited issuer cannot give. */
  readonly prefixes?: readonly string[] | undefined;
}

/** The template of an authority's certificate. Throws `forbidden` for what its issuer may not give. */
export function authorityTemplate(options: AuthorityOptions): CertificateTemplate {
  const { spki, issuer, serial } = options;
  const trustDomain = parseTrustDomain(options.trustDomain);
  const spiffeId = parseSpiffeId(`spiffe://${trustDomain}`);
  const prefixes = options.prefixes?.slice();
  if (issuer !== undefined) checkDomain(spiffeId, trustDomain, issuer);
  checkPrefixes(prefixes, issuer, spiffeId);
  checkKey(spki, spiffeId);
  const subjectKeyId = keyIdBytes(spki);
  const subjectName = encodeName([
    ['organization', 'Interlock'],
    ['commonName', trustDomain.slice(0, MAX_COMMON_NAME)],
    // Two authorities of a domain never share a name: path building finds the one by its name.
    ['serialNumber', subjectKeyId.toString('hex')],
  ]);
  return {
    kind: 'authority',
    serial: checkSerial(serial),
    issuerName: issuer?.name ?? subjectName,
    subjectName,
    ...validity(options, spiffeId, issuer),
    spki,
    spiffeId,
    dnsNames: [],
    subjectKeyId,
    issuer,
    pathLength: pathLengthBelow(options.pathLength, issuer, spiffeId),
    prefixes,
  };
}

/**
 * A new serial number (RFC 5280 section 4.1.2.2): 16 bytes of which 126 bits are random, so that it is positive, has
 * one form, and comes twice with no chance worth counting.
 */
export function newSerial(random: RandomBytes): Buffer {
  const serial = bufferOf(random(16));
  serial[0] = ((serial[0] as number) & 0x3f) | 0x40;
  return serial;
}

function checkSerial(serial: Buffer): Buffer {
  const first = serial[0] ?? 0;
  if (serial.length === 16 && first > 0 && first < 0x80) return serial;
  throw new RangeError('a serial number has 16 bytes, the first of them from 01 to 7f');
}

function checkDomain(id: SpiffeId, trustDomain: string, issuer: IssuerInfo): void {
  const own = issuer.certificate.spiffeId;
  if (own !== undefined && trustDomainOf(own) !== trustDomain)
    throw refused(id, `is not of its authority's trust domain, ${trustDomainOf(own)}`);
}

function checkKey(spki: Buffer, id: SpiffeId): void {
  if (rowOfSpki(spki) === undefined) {
    throw new InterlockError(
      'invalid_certificate',
      id,
      `the key for ${id} is of no kind that is certified here`,
    );
  }
}

function checkDnsNames(names: readonly string[], id: SpiffeId): void {
  if (names.length > MAX_DNS_NAMES) {
    throw new InterlockError('limit', id, `a certificate has at most ${MAX_DNS_NAMES} DNS names`);
  }
  const wrong = names.find((name) => !DNS_NAME.test(name));
  if (wrong !== undefined) {
    throw new InterlockError('invalid_identity', id, `"${wrong.slice(0, 80)}" is no DNS name of one host`);
  }
}

function checkPrefixes(
  prefixes: readonly string[] | undefined,
  issuer: IssuerInfo | undefined,
  id: SpiffeId,
) {
  if (prefixes !== undefined && prefixes.length > MAX_PREFIXES)
    throw new InterlockError('limit', id, `an authority has at most ${MAX_PREFIXES} path prefixes`);
  const fault = prefixes?.map(prefixFault).find((found) => found !== undefined);
  if (fault !== undefined) throw new InterlockError('invalid_document', id, fault);
  for (const scope of issuer?.scopes ?? []) {
    if (!arePrefixesInside(prefixes, scope))
      throw refused(
        id,
        `an authority limited to ${scope.join(', ') || 'no paths'} cannot give one ${prefixes?.join(', ') ?? 'without a limit'}`,
      );
  }
}

function pathLengthBelow(
  wanted: number | undefined,
  issuer: IssuerInfo | undefined,
  id: SpiffeId,
): number | undefined {
  if (wanted !== undefined && !(Number.isInteger(wanted) && wanted >= 0 && wanted < 128))
    throw new InterlockError('invalid_document', id, 'a path length is a whole number from 0 to 127');
  const own = issuer?.certificate.pathLength;
  if (own === undefined) return wanted;
  if (own === 0) throw refused(id, 'its authority may have no authority below it');
  return Math.min(wanted ?? own - 1, own - 1);
}

function validity(
  options: { readonly notBefore: number; readonly notAfter: number },
  id: SpiffeId,
  issuer: IssuerInfo | undefined,
): { notBefore: number; notAfter: number } {
  const from = Math.max(options.notBefore, issuer?.certificate.notBefore ?? 0);
  const to = Math.min(options.notAfter, issuer?.notAfter ?? MAX_TIME);
  const notBefore = from - (from % 1000);
  const notAfter = to - (to % 1000);
  if (!(notBefore >= 0 && notAfter > notBefore))
    throw new InterlockError('conflict', id, `the authority for ${id} is not valid at the time asked for`);
  return { notBefore, notAfter };
}

/** RFC 6125 readers look at the common name last, and some databases only there. */
function leafSubject(dnsNames: readonly string[]): Buffer {
  const [first] = dnsNames;
  if (first === undefined || first.length > MAX_COMMON_NAME) return PLAIN_SUBJECT;
  return encodeName([
    ['organization', 'Interlock'],
    ['commonName', first],
  ]);
}

function refused(id: SpiffeId, reason: string): InterlockError {
  return new InterlockError('forbidden', id, `${id} ${reason}`);
}

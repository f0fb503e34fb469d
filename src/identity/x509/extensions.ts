import { type DerReader, decodeOid, encodeOid, OID, type OidKey, oidKey, TAG } from '../der/index.ts';
import { prefixFault } from '../prefixes.ts';
import { type NameConstraints, readNameConstraints } from './name-constraints.ts';

/** Bits of keyUsage (RFC 5280 section 4.2.1.3). */
export const KEY_USAGE = {
  digitalSignature: 1 << 0,
  contentCommitment: 1 << 1,
  keyEncipherment: 1 << 2,
  dataEncipherment: 1 << 3,
  keyAgreement: 1 << 4,
  keyCertSign: 1 << 5,
  cRLSign: 1 << 6,
  encipherOnly: 1 << 7,
  decipherOnly: 1 << 8,
} as const;

/** Extensions of one certificate, and names in one of them, that are read. */
const MAX_EXTENSIONS = 64;
const MAX_NAMES = 1024;
/** Path prefixes of one authority. */
export const MAX_PREFIXES = 256;

/** What a certificate's extensions say: those that are known here, and which critical ones are not. */
export interface Extensions {
  isAuthority: boolean;
  pathLength?: number;
  /** Bits of {@link KEY_USAGE}. */
  keyUsage?: number;
  isKeyUsageCritical: boolean;
  /** Dotted object identifiers. */
  extendedKeyUsage?: readonly string[];
  uriNames: readonly string[];
  dnsNames: readonly string[];
  /** Subject alternative names of other kinds: counted, not read. */
  otherNames: number;
  subjectKeyId?: Buffer;
  authorityKeyId?: Buffer;
  prefixes?: readonly string[];
  nameConstraints?: NameConstraints;
  /** Dotted object identifiers of critical extensions that are not known here. */
  unknownCritical: readonly string[];
}

type Read = (into: Extensions, value: DerReader, critical: boolean) => void;

const READERS: ReadonlyMap<OidKey, Read> = new Map<OidKey, Read>(
  (
    [
      [OID.basicConstraints, basicConstraints],
      [OID.keyUsage, keyUsage],
      [OID.extKeyUsage, extendedKeyUsage],
      [OID.subjectAltName, subjectAltName],
      [OID.subjectKeyIdentifier, (into, value) => (into.subjectKeyId = octets(value))],
      [OID.authorityKeyIdentifier, authorityKeyIdentifier],
      [OID.pathPrefixes, pathPrefixes],
      [OID.nameConstraints, nameConstraints],
    ] as const satisfies readonly (readonly [string, Read])[]
  ).map(([dotted, read]) => [oidKey(encodeOid(dotted)), read]),
);

const NONE: readonly string[] = [];

/** Extensions of a certificate that has none. */
export function noExtensions(): Extensions {
  return {
    isAuthority: false,
    isKeyUsageCritical: false,
    uriNames: NONE,
    dnsNames: NONE,
    otherNames: 0,
    unknownCritical: NONE,
  };
}

/** Reads Extensions (RFC 5280 section 4.1.2.9), the SEQUENCE that comes next. One that stands there twice is a fault. */
export function readExtensions(reader: DerReader): Extensions {
  const into = noExtensions();
  const list = reader.enter(TAG.sequence);
  if (list.done) throw reader.fault('its list of extensions is empty');
  const seen: OidKey[] = [];
  while (!list.done) {
    const extension = list.enter(TAG.sequence);
    extension.expect(TAG.oid);
    const { start: oidFrom, stop: oidStop } = extension;
    const key = oidKey(extension.bytes, oidFrom, oidStop);
    if (seen.includes(key)) throw reader.fault('an extension stands there twice');
    if (seen.push(key) > MAX_EXTENSIONS) throw reader.fault(`it has more than ${MAX_EXTENSIONS} extensions`);
    let critical = false;
    if (extension.peek() === TAG.boolean) {
      critical = extension.boolean();
      if (!critical) throw reader.fault('a default value is written out');
    }
    const value = extension.enter(TAG.octetString);
    extension.finish();
    const read = READERS.get(key);
    if (read !== undefined) {
      read(into, value, critical);
      value.finish();
    } else if (critical) {
      into.unknownCritical = [...into.unknownCritical, decodeOid(extension.bytes.subarray(oidFrom, oidStop))];
    }
  }
  return into;
}

/** RFC 5280 section 4.2.1.9. */
function basicConstraints(into: Extensions, value: DerReader): void {
  const inside = value.enter(TAG.sequence);
  if (inside.peek() === TAG.boolean) {
    if (!inside.boolean()) throw value.fault('a default value is written out');
    into.isAuthority = true;
  }
  if (inside.peek() === TAG.integer) {
    if (!into.isAuthority) throw value.fault('it has a path length and is no authority');
    into.pathLength = inside.smallInteger();
  }
  inside.finish();
}

/** RFC 5280 section 4.2.1.3. */
function keyUsage(into: Extensions, value: DerReader, critical: boolean): void {
  into.keyUsage = value.namedBits();
  into.isKeyUsageCritical = critical;
  if (into.keyUsage === 0) throw value.fault('its keyUsage has no bit');
}

/** RFC 5280 section 4.2.1.12. */
function extendedKeyUsage(into: Extensions, value: DerReader): void {
  value.expect(TAG.sequence);
  if (value.content().equals(TLS_USAGES_DER)) {
    into.extendedKeyUsage = TLS_USAGES;
    return;
  }
  const inside = value.inside();
  const usages: string[] = [];
  while (!inside.done) {
    if (usages.push(decodeOid(inside.expect(TAG.oid).content())) > MAX_NAMES)
      throw value.fault('it has too many extKeyUsages');
  }
  if (usages.length === 0) throw value.fault('its extKeyUsage is empty');
  into.extendedKeyUsage = usages;
}

/** What nearly every SVID has here, so that it is read at a glance. */
const TLS_USAGES: readonly string[] = [OID.serverAuth, OID.clientAuth];
const TLS_USAGES_DER = Buffer.concat(
  TLS_USAGES.flatMap((dotted) => {
    const content = encodeOid(dotted);
    return [Buffer.from([TAG.oid, content.length]), content];
  }),
);

/** Tags of GeneralName (RFC 5280 section 4.2.1.6) that are read, and where the numbers of the others end. */
const DNS_NAME = 0x82;
const URI = 0x86;

/** RFC 5280 section 4.2.1.6. */
function subjectAltName(into: Extensions, value: DerReader): void {
  const names = generalNames(value);
  into.uriNames = names.uriNames;
  into.dnsNames = names.dnsNames;
  into.otherNames = names.otherNames;
}

/** Reads GeneralNames: URIs and DNS names as text, which must be printable ASCII without a space; others counted. */
export function generalNames(value: DerReader): Pick<Extensions, 'uriNames' | 'dnsNames' | 'otherNames'> {
  const inside = value.enter(TAG.sequence);
  if (inside.done) throw value.fault('its list of alternative names is empty');
  const uriNames: string[] = [];
  const dnsNames: string[] = [];
  let otherNames = 0;
  while (!inside.done) {
    const tag = inside.next();
    if (tag === URI) uriNames.push(visibleText(inside));
    else if (tag === DNS_NAME) dnsNames.push(visibleText(inside));
    else if ((tag & 0xc0) === 0x80) otherNames++;
    else throw value.fault('an alternative name is of no known kind');
    if (uriNames.length + dnsNames.length + otherNames > MAX_NAMES)
      throw value.fault(`it has more than ${MAX_NAMES} alternative names`);
  }
  return { uriNames, dnsNames, otherNames };
}

/** IA5String content without control characters, NUL and space: others would be read differently by different readers. */
function visibleText(reader: DerReader): string {
  const { bytes, start, stop } = reader;
  if (start === stop) throw reader.fault('an alternative name is empty');
  for (let i = start; i < stop; i++) {
    const byte = bytes[i] as number;
    if (byte < 0x21 || byte > 0x7e)
      throw reader.fault('an alternative name has a character other than printable ASCII');
  }
  return bytes.toString('latin1', start, stop);
}

function octets(value: DerReader): Buffer {
  const content = value.expect(TAG.octetString).content();
  if (content.length === 0) throw value.fault('a key identifier is empty');
  return content;
}

/** RFC 5280 section 4.2.1.1: [0] the key's identifier; [1] and [2], the issuer's name and serial, are not used. */
export function readAuthorityKeyId(value: DerReader): Buffer | undefined {
  const inside = value.enter(TAG.sequence);
  let id: Buffer | undefined;
  if (inside.peek() === 0x80) {
    inside.next();
    id = inside.content();
    if (id.length === 0) throw value.fault('a key identifier is empty');
  }
  for (const tag of [0xa1, 0x82]) if (inside.peek() === tag) inside.next();
  inside.finish();
  return id;
}

function authorityKeyIdentifier(into: Extensions, value: DerReader): void {
  const id = readAuthorityKeyId(value);
  if (id !== undefined) into.authorityKeyId = id;
}

/** RFC 5280 section 4.2.1.10. With kinds that are not read, a critical one counts among the unknown. */
function nameConstraints(into: Extensions, value: DerReader, critical: boolean): void {
  into.nameConstraints = readNameConstraints(value, visibleText);
  if (critical && into.nameConstraints.hasOthers)
    into.unknownCritical = [...into.unknownCritical, OID.nameConstraints];
}

/** SEQUENCE OF UTF8String. A prefix that is none would let a limit be misread: the certificate is refused. */
function pathPrefixes(into: Extensions, value: DerReader): void {
  const inside = value.enter(TAG.sequence);
  const prefixes: string[] = [];
  while (!inside.done) {
    const prefix = inside.expect(TAG.utf8String).content().toString('latin1');
    const fault = prefixFault(prefix);
    if (fault !== undefined) throw value.fault(`of its path prefixes, ${fault}`);
    if (prefixes.push(prefix) > MAX_PREFIXES)
      throw value.fault(`it has more than ${MAX_PREFIXES} path prefixes`);
  }
  into.prefixes = prefixes;
}

import { element, integer, OID, octetString, oid, sequence, time, TRUE, utf8String } from '../der/index.ts';
import { bitString } from '../der/index.ts';
import {
  generateKey,
  KEY_ALGORITHMS,
  type KeyAlgorithm,
  keyIdBytes,
  type Signer,
  signerOf,
} from '../keys/index.ts';
import { KEY_USAGE } from './extensions.ts';
import { authorityKeyIdExtension } from './issuer.ts';
import { encodeName } from './name.ts';
import { extension } from './sign.ts';

/** 21 November 2026, 12:00 UTC. */
export const NOW: number = Date.UTC(2026, 10, 21, 12);
export const HOUR = 3_600_000;

/** Bytes that are the same in every run. */
export function countedBytes(): (size: number) => Buffer {
  let count = 0;
  return (size) => {
    const bytes = Buffer.alloc(size, 0x5a);
    bytes.writeUInt32BE(++count, size - 4);
    return bytes;
  };
}

const KEYS = new Map<string, ReturnType<typeof generateKey>>();

/** The private key of a name, made once: tests that want other keys use other names. */
export function keyOf(name: string, algorithm: KeyAlgorithm = 'ec-p256'): ReturnType<typeof generateKey> {
  const id = `${algorithm} ${name}`;
  let key = KEYS.get(id);
  if (key === undefined) KEYS.set(id, (key = generateKey(algorithm)));
  return key;
}

/** Extensions by name, whole; an undefined one is left out. */
export type Extensions = Readonly<Record<string, Buffer | undefined>>;

/** A certificate written field by field by the plain builders, so that any field can be wrong. */
export interface Craft {
  /** [0] and what is in it; undefined for version 1. */
  readonly version?: Buffer | undefined;
  readonly serial?: Buffer;
  readonly issuerName: Buffer;
  readonly subjectName: Buffer;
  readonly notBefore?: Buffer;
  readonly notAfter?: Buffer;
  readonly spki: Buffer;
  /** undefined for no extensions at all. */
  readonly extensions: Extensions | undefined;
  readonly algorithm?: Buffer;
  readonly outerAlgorithm?: Buffer;
  readonly signature?: Buffer;
  readonly signer: Signer;
}

/** The certificate, DER. */
export function craft(one: Craft): Buffer {
  const algorithm = one.algorithm ?? KEY_ALGORITHMS[one.signer.algorithm].signatureAlgorithm;
  const version = 'version' in one ? one.version : element(0xa0, integer(2));
  const list = Object.values(one.extensions ?? {}).filter((part) => part !== undefined);
  const tbs = sequence(
    ...(version === undefined ? [] : [version]),
    one.serial ?? integer(4711),
    algorithm,
    one.issuerName,
    sequence(one.notBefore ?? time(NOW - HOUR), one.notAfter ?? time(NOW + HOUR)),
    one.subjectName,
    one.spki,
    ...(one.extensions === undefined ? [] : [element(0xa3, sequence(...list))]),
  );
  return sequence(tbs, one.outerAlgorithm ?? algorithm, bitString(one.signature ?? one.signer.sign(tbs)));
}

/** GeneralNames with one URI each. */
export function uris(...names: readonly string[]): Buffer {
  return alternativeNames(...names.map((name) => element(0x86, Buffer.from(name, 'latin1'))));
}

/** The subjectAltName extension. */
export function alternativeNames(...names: readonly Buffer[]): Buffer {
  return extension(OID.subjectAltName, false, sequence(...names));
}

/** The keyUsage extension; bits of KEY_USAGE up to 7. */
export function keyUsage(bits: number, critical = true): Buffer {
  let byte = 0;
  for (let i = 0; i < 8; i++) if ((bits & (1 << i)) !== 0) byte |= 0x80 >> i;
  return extension(
    OID.keyUsage,
    critical,
    element(0x03, Buffer.from([bits === 0 ? 0 : 7 - (31 - Math.clz32(bits)), byte])),
  );
}

/** The extKeyUsage extension. */
export function extendedKeyUsage(...usages: readonly string[]): Buffer {
  return extension(OID.extKeyUsage, false, sequence(...usages.map(oid)));
}

/** The basicConstraints extension of an authority. */
export function authority(pathLength?: number): Buffer {
  const parts = pathLength === undefined ? [TRUE] : [TRUE, integer(pathLength)];
  return extension(OID.basicConstraints, true, sequence(...parts));
}

/** The extension that limits an authority to path prefixes. */
export function prefixes(...list: readonly string[]): Buffer {
  return extension(OID.pathPrefixes, false, sequence(...list.map(utf8String)));
}

/** An authority or workload of a test: its name, key and certificate. */
export interface Party {
  readonly name: Buffer;
  readonly signer: Signer;
  readonly der: Buffer;
}

/** What may differ from a sound certificate. */
export interface Differences extends Partial<Omit<Craft, 'extensions'>> {
  readonly name?: string;
  readonly keyName?: string;
  readonly keyAlgorithm?: KeyAlgorithm;
  readonly extensions?: Extensions | undefined;
}

/** A sound authority of example.org below `issuer`, or a root, with differences. */
export function makeAuthority(issuer: Party | undefined, differences: Differences = {}): Party {
  const name = differences.name ?? 'authority';
  return make(issuer, name, differences, {
    keyUsage: keyUsage(KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign),
    constraints: authority(),
    names: uris('spiffe://example.org'),
  });
}

/** A sound X509-SVID of example.org below `issuer`, with differences. */
export function makeLeaf(issuer: Party, differences: Differences = {}): Party {
  return make(issuer, differences.name ?? 'leaf', differences, {
    keyUsage: keyUsage(KEY_USAGE.digitalSignature),
    usage: extendedKeyUsage(OID.serverAuth, OID.clientAuth),
    constraints: extension(OID.basicConstraints, true, sequence()),
    names: uris('spiffe://example.org/area/payments/api'),
  });
}

function make(
  issuer: Party | undefined,
  name: string,
  differences: Differences,
  extensions: Extensions,
): Party {
  const own = signerOf(keyOf(differences.keyName ?? name, differences.keyAlgorithm));
  const signer = differences.signer ?? issuer?.signer ?? own;
  const subjectName = differences.subjectName ?? encodeName([['commonName', name]]);
  const spki = differences.spki ?? own.spki;
  const der = craft({
    issuerName: issuer?.name ?? subjectName,
    ...differences,
    subjectName,
    spki,
    signer,
    extensions:
      'extensions' in differences && differences.extensions === undefined
        ? undefined
        : {
            ...extensions,
            ski: extension(OID.subjectKeyIdentifier, false, octetString(idOf(spki))),
            aki: issuer === undefined ? undefined : authorityKeyIdExtension(keyIdBytes(issuer.signer.spki)),
            ...differences.extensions,
          },
  });
  return { name: subjectName, signer: own, der };
}

/** Also for keys that are none. */
function idOf(spki: Buffer): Buffer {
  try {
    return keyIdBytes(spki);
  } catch {
    return Buffer.alloc(20, 1);
  }
}

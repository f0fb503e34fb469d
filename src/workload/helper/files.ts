import { hash } from 'node:crypto';
import { InterlockError, trustDomainOf } from '../../access/index.ts';
import {
  type Bundles,
  certificateToPem,
  createPkcs12,
  formatJwtBundle,
  pem,
  pemOf,
} from '../../identity/index.ts';
import type { JwtSvid } from '../jwt-svid.ts';
import type { X509State, X509Svid } from '../x509-state.ts';
import type { HelperConfig } from './config.ts';
import type { SetFile } from './file-set.ts';

/** Longest name of a file that a set takes. */
const MAX_NAME = 200;

/** What a set of files is made from. */
export interface Material {
  readonly x509: X509State;
  /** The tokens of the configuration's `jwt`, in its order. */
  readonly tokens: readonly JwtSvid[];
  /** Where the configuration asks for JWT bundles. */
  readonly jwtBundles: Bundles | undefined;
}

/** The files that the configuration asks for, but for PKCS#12. */
export function filesOf(config: HelperConfig, material: Material): SetFile[] {
  const { svid, bundles } = material.x509;
  const [leaf, ...intermediates] = svid.chain.map(({ der }) => certificateToPem(der));
  const trustDomain = trustDomainOf(svid.spiffeId);
  const own = bundles.get(trustDomain);
  if (leaf === undefined || own === undefined) {
    throw new InterlockError('not_found', svid.spiffeId, `there is no bundle of ${trustDomain} to write`);
  }
  const above = intermediates.join('');
  const certificate = config.intermediatesInBundle ? leaf : leaf + above;
  const key = keyPem(svid);
  const files: SetFile[] = [
    { name: config.certificate, data: certificate, mode: config.certificateMode },
    { name: config.key, data: key, mode: config.keyMode },
    {
      name: config.bundle,
      data: (config.intermediatesInBundle ? above : '') + pemOf(own),
      mode: config.bundleMode,
    },
  ];
  if (config.combined !== undefined) {
    files.push({ name: config.combined, data: key + leaf + above, mode: config.keyMode });
  }
  if (config.crl !== undefined && material.x509.crls.length > 0) {
    const data = material.x509.crls.map(({ der }) => pem('X509 CRL', der)).join('');
    files.push({ name: config.crl, data, mode: config.bundleMode });
  }
  return [...files, ...federatedFiles(config, bundles, trustDomain), ...jwtFiles(config, material)];
}

/** One file for each trust domain: in one file with the own, its authorities would vouch for the own domain's IDs too. */
function federatedFiles(config: HelperConfig, bundles: Bundles, own: string): SetFile[] {
  if (!config.federated) return [];
  const others = [...bundles.values()].filter(({ trustDomain }) => trustDomain !== own);
  return others.map((bundle) => ({
    name: federatedName(config.bundle, bundle.trustDomain),
    data: pemOf(bundle),
    mode: config.bundleMode,
  }));
}

/** `bundle.pem` and `other.example` make `bundle.other.example.pem`. */
export function federatedName(bundleFile: string, trustDomain: string): string {
  const dot = bundleFile.lastIndexOf('.');
  const stem = dot < 1 ? bundleFile : bundleFile.slice(0, dot);
  const ending = dot < 1 ? '' : bundleFile.slice(dot);
  // A file's name takes 255 bytes at most, and so may a trust domain's alone: what is cut gets a hash.
  const whole = `${stem}.${trustDomain}`;
  if (whole.length + ending.length <= MAX_NAME) return whole + ending;
  const mark = `-${hash('sha256', trustDomain).slice(0, 16)}`;
  return whole.slice(0, MAX_NAME - ending.length - mark.length) + mark + ending;
}

/** Tokens and their keys. */
function jwtFiles(config: HelperConfig, { x509, tokens, jwtBundles }: Material): SetFile[] {
  const files: SetFile[] = [];
  for (const [i, { file }] of config.jwt.entries()) {
    const token = tokens[i];
    if (token !== undefined) files.push({ name: file, data: token.token, mode: config.jwtMode });
  }
  const own = jwtBundles?.get(trustDomainOf(x509.svid.spiffeId));
  if (config.jwtBundle !== undefined && own !== undefined) {
    files.push({ name: config.jwtBundle, data: formatJwtBundle(own), mode: config.bundleMode });
  }
  return files;
}

/** Key and chain as PKCS#12, under the name of the configuration. */
export function pkcs12File(config: HelperConfig, svid: X509Svid, password: string): SetFile {
  const chain = svid.chain.map(({ der }) => der);
  const data = createPkcs12({ key: svid.key, chain, friendlyName: svid.spiffeId, password });
  return { name: config.pkcs12?.file ?? 'svid.p12', data, mode: config.keyMode };
}

function keyPem({ key }: X509Svid): string {
  return key.export({ type: 'pkcs8', format: 'pem' });
}

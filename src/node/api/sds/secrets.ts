import { createHash } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { type Any, AnySchema, anyPack } from '@bufbuild/protobuf/wkt';
import { pathOf, type SpiffeId, spiffeIdOf, trustDomainOf } from '../../../access/index.ts';
import { type Bundle, pem, pemOf } from '../../../identity/index.ts';
import { coreBase, secret, spiffeValidator, tlsCommon } from '../../../proto/index.ts';
import type { ServedSvid, WorkloadState } from '../../workloads/workload-book.ts';

/** The type URL of every SDS resource. */
export const SECRET_TYPE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';
/** Names that stand for what the workload has, whatever it is called: SPIRE's. */
export const DEFAULT_SVID = 'default';
export const OWN_BUNDLE = 'ROOTCA';
export const ALL_BUNDLES = 'ALL';
/** Envoy's validator for SPIFFE: it chooses the bundle by the peer's trust domain. */
const SPIFFE_VALIDATOR = 'envoy.tls.cert_validator.spiffe';

/** One secret as SDS carries it, and a version that changes only with its content. */
export interface NamedSecret {
  readonly name: string;
  readonly version: string;
  readonly resource: Any;
}

/** How the trust of a proxy is said. */
export interface SecretStyle {
  /** Without Envoy's SPIFFE validator: one list of roots for all peers (`trusted_ca`). */
  readonly plainTrust: boolean;
}

/**
 * The secret of a name, or undefined where the workload is not entitled to it: `default` or a SPIFFE ID for a
 * certificate with its key; `ROOTCA`, `ALL` or a trust domain's ID for what to trust.
 */
export function secretOf(state: WorkloadState, name: string, style: SecretStyle): NamedSecret | undefined {
  const { svids, bundles } = state;
  switch (name) {
    case DEFAULT_SVID:
      return svids[0] === undefined ? undefined : certificate(name, svids[0]);
    case OWN_BUNDLE:
      return ownBundles(state).length === 0 ? undefined : trust(name, ownBundles(state), style);
    case ALL_BUNDLES:
      return trust(name, [...bundles.values()], style);
  }
  const id = spiffeIdOf(name);
  const svid = svids.find(({ spiffeId }) => spiffeId === name) ?? movedSvid(state, id);
  if (svid !== undefined) return certificate(name, svid);
  const bundle =
    id === undefined || id !== `spiffe://${trustDomainOf(id)}` ? undefined : bundles.get(trustDomainOf(id));
  return bundle === undefined ? undefined : trust(name, [bundle], style);
}

/** Of the own trust domain, and of those to which identities of it move: an Envoy trusts both, before its own move and after it. */
function ownBundles({ bundles, trustDomain, targets }: WorkloadState): Bundle[] {
  return [trustDomain, ...targets].flatMap((domain) => bundles.get(domain) ?? []);
}

/** The SVID of an ID in another trust domain of the estate: an Envoy that names its ID keeps its certificate in a move. */
function movedSvid({ svids, trustDomain, targets }: WorkloadState, id: SpiffeId | undefined) {
  if (id === undefined || ![trustDomain, ...targets].includes(trustDomainOf(id))) return undefined;
  return svids.find(({ given }) => pathOf(given) === pathOf(id) && trustDomainOf(given) === trustDomain);
}

/** The names of all secrets of a workload: what a proxy gets that asks for none by name. */
export function secretNames({ svids, bundles }: WorkloadState): string[] {
  return [
    ...svids.map(({ spiffeId }) => spiffeId),
    ...[...bundles.keys()].map((domain) => `spiffe://${domain}`),
  ];
}

function certificate(name: string, { chain, key }: ServedSvid): NamedSecret {
  const value = create(tlsCommon.TlsCertificateSchema, {
    certificateChain: inline(chain.map((der) => pem('CERTIFICATE', der)).join('')),
    privateKey: inline(pem('PRIVATE KEY', key)),
  });
  return named(create(secret.SecretSchema, { name, type: { case: 'tlsCertificate', value } }));
}

function trust(name: string, bundles: readonly Bundle[], { plainTrust }: SecretStyle): NamedSecret {
  const sorted = bundles.toSorted((a, b) => (a.trustDomain < b.trustDomain ? -1 : 1));
  const value = create(
    tlsCommon.CertificateValidationContextSchema,
    plainTrust
      ? { trustedCa: inline(sorted.map(pemOf).join('')) }
      : {
          customValidatorConfig: {
            name: SPIFFE_VALIDATOR,
            typedConfig: anyPack(
              spiffeValidator.SPIFFECertValidatorConfigSchema,
              create(spiffeValidator.SPIFFECertValidatorConfigSchema, {
                trustDomains: sorted.map((bundle) => ({
                  name: bundle.trustDomain,
                  trustBundle: inline(pemOf(bundle)),
                })),
              }),
            ),
          },
        },
  );
  return named(create(secret.SecretSchema, { name, type: { case: 'validationContext', value } }));
}

function inline(text: string): coreBase.DataSource {
  return create(coreBase.DataSourceSchema, { specifier: { case: 'inlineBytes', value: Buffer.from(text) } });
}

function named(message: secret.Secret): NamedSecret {
  const value = toBinary(secret.SecretSchema, message);
  return {
    name: message.name,
    version: createHash('sha256').update(value).digest('hex').slice(0, 16),
    resource: create(AnySchema, { typeUrl: SECRET_TYPE, value }),
  };
}

/** Node metadata with which a proxy asks for plain trust, as a truth value or as text: SPIRE's. */
const PLAIN_TRUST_KEY = 'disable_spiffe_cert_validation';
/** Envoy has the SPIFFE validator after this version. */
const WITHOUT_VALIDATOR = { major: 1, minor: 17 } as const;

/** How a proxy, by what it says of itself, has to be told whom to trust. */
export function styleFor(node: coreBase.Node | undefined): SecretStyle {
  const wish = node?.metadata?.[PLAIN_TRUST_KEY];
  if (wish === true || wish === 'true') return { plainTrust: true };
  const build = node?.userAgentVersionType;
  const version = build?.case === 'userAgentBuildVersion' ? build.value.version : undefined;
  if (version === undefined) return { plainTrust: false };
  const { major, minor } = WITHOUT_VALIDATOR;
  return {
    plainTrust:
      version.majorNumber < major || (version.majorNumber === major && version.minorNumber <= minor),
  };
}

import { parse } from 'yaml';
import { z } from 'zod';
import { durationOf, InterlockError, isInterlockError } from '../../access/index.ts';
import {
  type Certificate,
  certificatesFromPem,
  K8sPsatAttestor,
  discovery,
  type KubernetesCluster,
  type NodeAttestor,
  OidcAttestor,
  type OidcIssuer,
  X509PopAttestor,
} from '../../identity/index.ts';
import type { AttestorParts } from '../serve-options.ts';
import { random } from '../identity/signing-keys.ts';
import { type ApiServer, clusterKeys, tokenReview } from './api-server.ts';
import { textFetcher } from './fetch-text.ts';

/** Largest file of attestors, in characters. */
const MAX_TEXT = 1024 * 1024;

const https = z.url({ protocol: /^https$/, error: 'an address that begins with https://' });
const expressions = { agent: z.string().optional(), claims: z.record(z.string(), z.string()).optional() };
const schema = z.strictObject({
  k8s_psat: z
    .array(
      z.strictObject({
        name: z.string().min(1),
        audience: z.string().optional(),
        serviceAccounts: z
          .array(z.string().regex(/^[^:/ ]+:[^:/ ]+$/, 'written NAMESPACE:NAME'))
          .min(1, 'name at least one'),
        issuer: z.string().optional(),
        jwks: z.unknown().optional(),
        /** The API server to ask for its keys, in place of `jwks`. */
        keysFrom: z
          .strictObject({ url: https, caFile: z.string().optional(), tokenFile: z.string().optional() })
          .optional(),
        /** The API server to ask about each token (TokenReview), in place of keys. */
        apiServer: z
          .strictObject({ url: https, caFile: z.string().optional(), tokenFile: z.string() })
          .optional(),
        once: z.boolean().optional(),
      }),
    )
    .optional(),
  oidc: z
    .array(
      z.strictObject({
        issuer: z.string(),
        audience: z.string(),
        when: z.string(),
        ...expressions,
        agent: z.string(),
        jwks: z.unknown().optional(),
        /** PEM of the authorities of the issuer's own servers. */
        caFile: z.string().optional(),
        life: z.string().optional(),
      }),
    )
    .optional(),
  x509pop: z.strictObject({ roots: z.string(), when: z.string().optional(), ...expressions }).optional(),
});

/**
 * The attestors that a YAML text sets up. Throws `invalid_document` with what is wrong, before anything is served.
 */
export function attestorsFrom(text: string, file: string): (parts: AttestorParts) => readonly NodeAttestor[] {
  const config = read(text, file);
  return (parts) => {
    try {
      return attestorsOf(config, parts);
    } catch (error) {
      if (!isInterlockError(error)) throw error;
      throw new InterlockError(error.code, file, `${file}: ${error.message}`, { cause: error });
    }
  };
}

function attestorsOf(config: Config, { used, timers }: AttestorParts): NodeAttestor[] {
  const now = () => timers.now();
  const attestors: NodeAttestor[] = [];
  if (config.k8s_psat !== undefined)
    attestors.push(new K8sPsatAttestor({ clusters: config.k8s_psat.map(clusterOf), used, now }));
  if (config.oidc !== undefined)
    attestors.push(
      new OidcAttestor({ issuers: config.oidc.map(issuerOf), used, now, fetchText: textFetcher() }),
    );
  if (config.x509pop !== undefined) {
    const { roots, ...rest } = config.x509pop;
    attestors.push(new X509PopAttestor({ ...given(rest), roots: rootsOf(roots), random }));
  }
  return attestors;
}

type Config = z.output<typeof schema>;

/** Whose keys or word count: those given, the API server's, or those that the issuer publishes (EKS, GKE, AKS do). */
function clusterOf({
  apiServer,
  keysFrom,
  ...cluster
}: NonNullable<Config['k8s_psat']>[number]): KubernetesCluster {
  const { name, issuer, jwks } = cluster;
  const isFound = jwks === undefined && apiServer === undefined && keysFrom === undefined;
  if (isFound && (issuer === undefined || !URL.canParse(issuer) || new URL(issuer).protocol !== 'https:'))
    throw unusable(
      `cluster "${name}": give it "apiServer", or "issuer" with "jwks" or "keysFrom", or an "issuer" that publishes its keys under https://`,
    );
  const server = (from: object): ApiServer => given(from) as ApiServer;
  return {
    ...given(cluster),
    ...(apiServer === undefined ? {} : { review: tokenReview(server(apiServer)) }),
    ...(keysFrom === undefined ? {} : { loadJwks: clusterKeys(server(keysFrom)) }),
    ...(isFound && issuer !== undefined ? { loadJwks: discovery(issuer, textFetcher()) } : {}),
  };
}

function issuerOf({ life, caFile, ...issuer }: NonNullable<Config['oidc']>[number]): OidcIssuer {
  const ms = life === undefined ? undefined : durationOf(life);
  if (life !== undefined && ms === undefined)
    throw unusable(`oidc ${issuer.issuer}: "life" is written like 6h, not "${life.slice(0, 20)}"`);
  return {
    ...given(issuer),
    ...(ms === undefined ? {} : { life: ms }),
    ...(caFile === undefined ? {} : { fetchText: textFetcher(caFile) }),
  };
}

function rootsOf(pem: string): Certificate[] {
  try {
    return certificatesFromPem(pem);
  } catch (cause) {
    throw unusable(`"x509pop.roots": ${isInterlockError(cause) ? cause.message : 'not PEM'}`, cause);
  }
}

function unusable(reason: string, cause?: unknown): InterlockError {
  return new InterlockError('invalid_document', 'attestors', reason, { cause });
}

type Given<T> = { [Key in keyof T]: Exclude<T[Key], undefined> };

/** The data without "or undefined": zod writes optional fields so, and parsed from YAML none has that value. */
function given<T extends object>(data: T): Given<T> {
  return data as Given<T>;
}

function read(text: string, file: string): Config {
  if (text.length > MAX_TEXT) throw new InterlockError('limit', file, `${file} is larger than 1 MiB`);
  let data: unknown;
  try {
    data = parse(text, { maxAliasCount: 0, schema: 'core' });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split('\n', 1)[0] : '';
    throw new InterlockError('invalid_document', file, `${file} is not YAML: ${why}`, { cause });
  }
  const parsed = schema.safeParse(data);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.map(String).join('.') || 'the document';
  throw new InterlockError('invalid_document', file, `${file}: "${where}": ${issue?.message ?? 'not valid'}`);
}

import { parse } from 'yaml';
import { z } from 'zod';
import { InterlockError } from '../../access/index.ts';
import {
  certificatesFromPem,
  durationOf,
  K8sPsatAttestor,
  type NodeAttestor,
  OidcAttestor,
  X509PopAttestor,
} from '../../identity/index.ts';
import type { AttestorParts } from '../serve.ts';
import { random } from '../identity/signing-keys.ts';
import { tokenReview } from './token-review.ts';
import { fetchText } from './fetch-text.ts';

/** Largest file of attestors, in characters. */
const MAX_TEXT = 1024 * 1024;

const expressions = { agent: z.string().optional(), claims: z.record(z.string(), z.string()).optional() };
const schema = z.strictObject({
  k8s_psat: z
    .array(
      z.strictObject({
        name: z.string().min(1),
        audience: z.string().optional(),
        serviceAccounts: z.array(z.string()).min(1),
        issuer: z.string().optional(),
        jwks: z.unknown().optional(),
        /** The API server to ask (TokenReview), in place of keys. */
        apiServer: z
          .strictObject({
            url: z.url({ protocol: /^https$/ }),
            caFile: z.string().optional(),
            tokenFile: z.string(),
          })
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
  return ({ used, timers }) => {
    const now = () => timers.now();
    const attestors: NodeAttestor[] = [];
    if (config.k8s_psat !== undefined) {
      const clusters = config.k8s_psat.map(({ apiServer, ...cluster }) =>
        apiServer === undefined
          ? given(cluster)
          : { ...given(cluster), review: tokenReview(given(apiServer)) },
      );
      attestors.push(new K8sPsatAttestor({ clusters, used, now }));
    }
    if (config.oidc !== undefined) {
      const issuers = config.oidc.map(({ life, ...issuer }) => ({ ...given(issuer), ...lifeOf(life, file) }));
      attestors.push(new OidcAttestor({ issuers, used, now, fetchText }));
    }
    if (config.x509pop !== undefined) {
      const { roots, ...rest } = config.x509pop;
      attestors.push(new X509PopAttestor({ ...given(rest), roots: certificatesFromPem(roots), random }));
    }
    return attestors;
  };
}

function lifeOf(life: string | undefined, file: string): { life?: number } {
  if (life === undefined) return {};
  const ms = durationOf(life);
  if (ms !== undefined) return { life: ms };
  throw new InterlockError(
    'invalid_document',
    file,
    `${file}: "life" is written like 6h, not "${life.slice(0, 20)}"`,
  );
}

type Given<T> = { [Key in keyof T]: Exclude<T[Key], undefined> };

/** The data without "or undefined": zod writes optional fields so, and parsed from YAML none has that value. */
function given<T extends object>(data: T): Given<T> {
  return data as Given<T>;
}

function read(text: string, file: string): z.output<typeof schema> {
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

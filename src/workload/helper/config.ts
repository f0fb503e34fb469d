import { constants } from 'node:os';
import { parse } from 'yaml';
import { z } from 'zod';
import { InterlockError, spiffeIdOf } from '../../access/index.ts';
import { translated } from './spiffe-helper.ts';

/** Largest configuration that is read, in characters. */
const MAX_CONFIG = 256 * 1024;

/** A file's permissions. Text only: YAML reads 0644 as six hundred and forty-four. */
const mode = z
  .string({ error: 'is written in quotes, as "0640"' })
  .regex(/^0?[0-7]{3}$/, 'is written as "0640"')
  .transform((text) => Number.parseInt(text, 8))
  .refine((bits) => (bits & 0o002) === 0, 'must not let everyone write');

const secretMode = mode.refine(
  (bits) => (bits & 0o007) === 0,
  'must not let everyone read a secret: "0640" at most',
);

const fileName = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/, 'is a plain file name, without a folder');
const signal = z
  .string()
  .transform((text) => (text.startsWith('SIG') ? text : `SIG${text}`))
  .refine((text) => Object.hasOwn(constants.signals, text), 'is no signal of this system')
  // The line above looked it up.
  .transform((text) => text as NodeJS.Signals);

const jwt = z.strictObject({
  audience: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).transform((a) => [a].flat()),
  file: fileName,
  subject: z
    .string()
    .transform((text, context) => {
      const id = spiffeIdOf(text);
      if (id !== undefined) return id;
      context.addIssue({ code: 'custom', message: 'is no SPIFFE ID' });
      return z.NEVER;
    })
    .optional(),
});

const NO_DIR = 'say where the files go, with --dir DIR or "dir" in the configuration';

const schema = z
  .strictObject({
    endpoint: z.string().optional(),
    dir: z.string({ error: NO_DIR }).min(1, NO_DIR),
    owner: z.string().optional(),
    certificate: fileName.default('svid.pem'),
    key: fileName.default('svid_key.pem'),
    bundle: fileName.default('bundle.pem'),
    /** Revocation lists, PEM; no file while the Workload API gives none. */
    crl: fileName.optional(),
    /** Key and certificates in one file, for those who cannot take a change between two. */
    combined: fileName.optional(),
    pkcs12: z.strictObject({ file: fileName, passwordFile: z.string().min(1) }).optional(),
    certificateMode: mode.prefault('0644'),
    keyMode: secretMode.prefault('0600'),
    bundleMode: mode.prefault('0644'),
    jwtMode: secretMode.prefault('0600'),
    intermediatesInBundle: z.boolean().default(false),
    federated: z.boolean().default(false),
    hint: z.string().optional(),
    jwt: z.array(jwt).max(100).default([]),
    jwtBundle: fileName.optional(),
    command: z.array(z.string()).min(1).optional(),
    shell: z.boolean().default(false),
    commandTimeout: z.number().positive().max(86_400).default(30),
    signal: signal.optional(),
    pid: z.int().min(2).optional(),
    pidFile: z.string().min(1).optional(),
    healthFile: z.string().min(1).optional(),
    healthHost: z.string().default('127.0.0.1'),
    healthPort: z.int().min(0).max(65_535).optional(),
    livePath: z.string().startsWith('/').default('/live'),
    readyPath: z.string().startsWith('/').default('/ready'),
    once: z.boolean().default(false),
  })
  .refine((c) => c.signal !== undefined || (c.pid === undefined && c.pidFile === undefined), {
    error: 'a pid or pid file needs a signal to send',
  })
  .refine((c) => c.signal === undefined || targets(c) === 1, {
    error: 'a signal goes to exactly one of: command, pid, pidFile',
  })
  .refine((c) => c.pid === undefined || c.pidFile === undefined, {
    error: 'give a pid or a pid file, not both',
  });

/** What a helper does, checked and complete. Times in seconds. */
export type HelperConfig = z.output<typeof schema>;
/** What may be given; all but `dir` has a default. */
export type HelperInput = z.input<typeof schema>;

function targets(of: { command?: unknown; pid?: unknown; pidFile?: unknown }): number {
  return [of.command, of.pid, of.pidFile].filter((target) => target !== undefined).length;
}

/**
 * Checks options from anywhere; later ones win. Names of spiffe-helper's are understood. Throws `usage` that names the
 * option.
 */
export function helperConfig(...layers: readonly Readonly<Record<string, unknown>>[]): HelperConfig {
  const merged = new Map<string, unknown>();
  for (const layer of layers) {
    for (const [key, value] of translated(layer)) if (value !== undefined) merged.set(key, value);
  }
  // Made at once, so that "__proto__" is a name like any other, and unknown.
  const result = schema.safeParse(Object.fromEntries(merged));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue?.path.join('.') ?? '';
  const why = issue?.message ?? 'it is not valid';
  throw new InterlockError('usage', where || 'helper', `helper: ${where === '' ? '' : `${where}: `}${why}`);
}

/** Reads a configuration file's text, YAML or JSON, into options. Throws `invalid_document` or `limit`. */
export function readHelperFile(text: string, file: string): Readonly<Record<string, unknown>> {
  if (text.length > MAX_CONFIG) throw new InterlockError('limit', file, `${file} is larger than 256 KiB`);
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 20 });
  } catch (cause) {
    throw new InterlockError('invalid_document', file, `${file} is neither YAML nor JSON${hcl(text)}`, {
      cause,
    });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new InterlockError('invalid_document', file, `${file} is no list of options${hcl(text)}`);
}

function hcl(text: string): string {
  if (!/^\s*[a-z_]+\s*=/m.test(text)) return '';
  return ': it looks like HCL; write each option as "name: value"';
}

import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { InterlockError } from '../../access/index.ts';
import { ROLES } from '../../api/index.ts';
import { isSafeAddress } from '../../identity/index.ts';

/** Largest file, in characters. */
const MAX_TEXT = 1024 * 1024;

const word = z.string().min(1).max(2000);
const issuer = word.refine(isSafeAddress, 'an address that begins with https://');
const roles = z.array(z.enum(ROLES)).min(1, 'name at least one role');
const rule = z.union(
  [
    z.strictObject({ group: word, roles }),
    z.strictObject({ subject: word, issuer: issuer.optional(), roles }),
    z.strictObject({
      claims: z
        .record(word, z.union([z.string(), z.number(), z.boolean()]))
        .refine((all) => Object.keys(all).length > 0, 'name at least one claim'),
      issuer,
      roles,
    }),
    z.strictObject({
      spiffe: word.regex(/^spiffe:\/\/[^*]+\*?$/, 'a SPIFFE ID, or its beginning and "*"'),
      roles,
    }),
  ],
  'a rule is {group, roles}, {subject, issuer, roles}, {claims, issuer, roles} or {spiffe, roles}',
);

const schema = z.strictObject({
  /** The provider that people sign in through. */
  oidc: z
    .strictObject({
      issuer,
      /** As the button says it. */
      name: word.max(60).optional(),
      clientId: word,
      /** Read at the start; a client without a secret is public. */
      clientSecretFile: word.optional(),
      scopes: z.array(word).default(['openid', 'profile']),
      groupsClaim: word.default('groups'),
      /** The public client of the command line, whose ID tokens are accepted as bearer tokens. */
      cli: z
        .strictObject({ clientId: word, scopes: z.array(word).default(['openid', 'offline_access']) })
        .optional(),
    })
    .optional(),
  /** Further issuers whose tokens are accepted as bearer tokens: CI. */
  tokens: z
    .array(z.strictObject({ issuer, audience: word }))
    .max(50)
    .default([]),
  roles: z.array(rule).max(2000).default([]),
});

/** Who may sign in, through whom, and with which roles. */
export type SignInConfig = z.output<typeof schema> & {
  /** The secret of `oidc.clientSecretFile`. */
  readonly clientSecret?: string;
};
export type OidcConfig = NonNullable<SignInConfig['oidc']>;
export type RoleRule = SignInConfig['roles'][number];

/** Reads a file of `--sign-in`. Files in it are named as seen from it. Throws `invalid_document` with the line, `io`, `limit`. */
export function signInConfigFrom(text: string, file: string): SignInConfig {
  if (text.length > MAX_TEXT) throw new InterlockError('limit', file, `${file} is larger than 1 MiB`);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const fault = (reason: string, at?: number) => {
    const line = at === undefined ? undefined : lines.linePos(at).line;
    return new InterlockError('invalid_document', file, reason, { place: { file, line } });
  };
  const [error] = document.errors;
  if (error !== undefined) throw fault(error.message.split('\n', 1)[0] ?? 'it is no YAML', error.pos[0]);
  let data: unknown;
  try {
    data = document.toJS({ maxAliasCount: 0 }) ?? {};
  } catch {
    throw fault('YAML aliases are not read here');
  }
  const parsed = schema.safeParse(data);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const path = issue?.path ?? [];
    const node: unknown = document.getIn(path, true);
    const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined;
    const at = Array.isArray(range) ? Number(range[0]) : undefined;
    throw fault(`"${path.map(String).join('.')}": ${issue?.message ?? 'not valid'}`, at);
  }
  const { oidc, tokens } = parsed.data;
  const issuers = [...(oidc === undefined ? [] : [oidc.issuer]), ...tokens.map((each) => each.issuer)];
  const twice = issuers.find((each, i) => issuers.indexOf(each) !== i);
  if (twice !== undefined) throw fault(`the issuer ${twice} is given twice`);
  for (const each of parsed.data.roles) {
    if ('group' in each && oidc === undefined)
      throw fault(`group "${each.group}": there is no "oidc" that says groups`);
    if ('subject' in each && each.issuer === undefined && oidc === undefined)
      throw fault(`subject "${each.subject}": say its "issuer"`);
  }
  const secretFile = oidc?.clientSecretFile;
  if (secretFile === undefined) return parsed.data;
  return { ...parsed.data, clientSecret: secretOf(resolve(dirname(file), secretFile)) };
}

function secretOf(file: string): string {
  try {
    const secret = readFileSync(file, 'utf8').trim();
    if (secret !== '') return secret;
  } catch (cause) {
    throw new InterlockError('io', file, `the client secret's file ${file} cannot be read`, { cause });
  }
  throw new InterlockError('io', file, `the client secret's file ${file} is empty`);
}

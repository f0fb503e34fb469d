import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { InterlockError } from '../../access/index.ts';
import { NOTICE_TYPES, type NoticeType } from '../../api/index.ts';
import { parseAddress, TIERS, type Tier } from '../../policy/index.ts';
import { addressKind, hostOf } from './address.ts';
import { secretBytes } from './sign.ts';

/** Largest file of channels in characters, largest file of a secret in bytes, and most channels. */
const MAX_TEXT = 256 * 1024;
const MAX_SECRET = 4096;
const MAX_CA = 256 * 1024;
const MAX_CHANNELS = 50;
/** Two, while one takes the place of the other. */
const MAX_SECRETS = 2;
/** Everyone but the owner and the group, which a Kubernetes secret is given to by. */
const EVERYONE = 0o007;

const word = z.string().min(1).max(512);
const channelSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'a name has a to z, 0 to 9 and "-"'),
  webhook: z.strictObject({ url: z.string().max(2000), secretFile: word }).exactOptional(),
  slack: z.strictObject({ urlFile: word }).exactOptional(),
  on: z.array(z.enum(NOTICE_TYPES)).min(1, 'name at least one').exactOptional(),
  only: z
    .strictObject({
      namespaces: z.array(word).min(1).exactOptional(),
      tiers: z.array(z.enum(TIERS)).min(1).exactOptional(),
      owners: z.array(word).min(1).exactOptional(),
    })
    .exactOptional(),
  allowPrivate: z.boolean().default(false),
  caFile: word.exactOptional(),
});
const schema = z.strictObject({
  channels: z.array(channelSchema).min(1, 'name at least one channel').max(MAX_CHANNELS),
});

/** What concerns a channel; every field narrows. */
export interface ChannelFilter {
  readonly namespaces?: readonly string[];
  readonly tiers?: readonly Tier[];
  readonly owners?: readonly string[];
}

/** One receiver of notifications. */
export interface ChannelConfig {
  readonly name: string;
  readonly kind: 'webhook' | 'slack';
  /** Of Slack and its like the address itself is the secret. */
  readonly url: URL;
  /** Keys that bodies are signed with; none for Slack. */
  readonly secrets: readonly Buffer[];
  readonly on: ReadonlySet<NoticeType>;
  readonly only: ChannelFilter;
  readonly allowPrivate: boolean;
  /** PEM of the authorities that its certificate may be of; the system's where absent. */
  readonly ca?: string;
}

export interface NotifyConfig {
  readonly channels: readonly ChannelConfig[];
}

/** Reads a file of `--notify`. Files in it are named as seen from it. Throws `invalid_document` with the line, `io`, `limit`. */
export function notifyConfigFrom(text: string, file: string): NotifyConfig {
  if (text.length > MAX_TEXT) throw new InterlockError('limit', file, `${file} is larger than 256 KiB`);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const fault = (reason: string, at?: number) => {
    const line = at === undefined ? undefined : lines.linePos(at).line;
    return new InterlockError('invalid_document', file, reason, { place: { file, line } });
  };
  const faultAt = (reason: string, path: readonly PropertyKey[]) => {
    const node: unknown = document.getIn(path, true);
    const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined;
    return fault(
      `"${path.map(String).join('.')}": ${reason}`,
      Array.isArray(range) ? Number(range[0]) : undefined,
    );
  };
  const [error] = document.errors;
  if (error !== undefined) throw fault(error.message.split('\n', 1)[0] ?? 'it is no YAML', error.pos[0]);
  const parsed = schema.safeParse(dataOf(document, () => fault('YAML aliases are not read here')));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    if (issue?.path.length === 0 && issue.code === 'invalid_type')
      throw fault('the file holds "channels" with a list of them', 0);
    throw faultAt(issue?.message ?? 'not valid', issue?.path ?? []);
  }
  const names = parsed.data.channels.map(({ name }) => name);
  return {
    channels: parsed.data.channels.map((channel, i) => {
      const refuse = (reason: string, ...path: string[]) => faultAt(reason, ['channels', i, ...path]);
      if (names.indexOf(channel.name) !== i)
        throw refuse(`the channel ${channel.name} is given twice`, 'name');
      return channelOf(channel, dirname(file), refuse);
    }),
  };
}

/** The data of a document. An alias could stand for a thousand others. */
function dataOf(document: ReturnType<typeof parseDocument>, fault: () => InterlockError): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 }) ?? {};
  } catch {
    throw fault();
  }
}

type Refuse = (reason: string, ...path: string[]) => InterlockError;

function channelOf(given: z.output<typeof channelSchema>, folder: string, refuse: Refuse): ChannelConfig {
  const { name, webhook, slack, on, only = {}, allowPrivate, caFile } = given;
  if ((webhook === undefined) === (slack === undefined))
    throw refuse('a channel is either a "webhook" or a "slack"');
  const common = {
    name,
    on: new Set(on ?? NOTICE_TYPES),
    only,
    allowPrivate,
    ...(caFile === undefined ? {} : { ca: contentOf(resolve(folder, caFile), MAX_CA, false) }),
  };
  if (webhook !== undefined) {
    const url = urlOf(webhook.url, allowPrivate);
    if (typeof url === 'string') throw refuse(url, 'webhook', 'url');
    const secrets = secretsOf(resolve(folder, webhook.secretFile));
    return { ...common, kind: 'webhook', url, secrets };
  }
  const file = resolve(folder, slack?.urlFile ?? '');
  const url = urlOf(contentOf(file, MAX_SECRET, true), allowPrivate);
  // What is wrong is said, not what stands there.
  if (typeof url === 'string')
    throw new InterlockError('invalid_document', file, `the address in ${file}: ${url}`);
  return { ...common, kind: 'slack', url, secrets: [] };
}

/** The address, or why it is none that anything is sent to. A name is looked at again whenever something is sent. */
function urlOf(text: string, allowPrivate: boolean): URL | string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) return 'an address is written https://HOST/PATH';
  if (url.username !== '' || url.password !== '' || url.hash !== '')
    return 'an address has no user, password or fragment';
  const host = hostOf(url);
  // The parser of addresses has written every odd form (decimal, octal, hexadecimal) in the usual one.
  const kind = parseAddress(host) === undefined ? undefined : addressKind(host);
  const isLoopback = kind === 'loopback' || host === 'localhost';
  if (url.protocol === 'http:' && !(isLoopback && allowPrivate))
    return 'it begins with https://; plain http is for this machine alone, with "allowPrivate: true"';
  if (kind === 'never') return 'nothing is ever sent to this address';
  if ((kind === 'private' || isLoopback) && !allowPrivate)
    return 'it is in a private network or on this machine: "allowPrivate: true" allows that';
  return url;
}

/** The secrets of a file, a line each. */
function secretsOf(file: string): Buffer[] {
  const lines = contentOf(file, MAX_SECRET, true)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const secrets = lines.flatMap((line) => secretBytes(line) ?? []);
  if (secrets.length === lines.length && secrets.length >= 1 && secrets.length <= MAX_SECRETS) return secrets;
  throw new InterlockError(
    'invalid_document',
    file,
    `${file} holds one secret of 24 to 64 bytes, or two on a line each while they change: "interlock notifications secret" makes one`,
  );
}

/** A file's content. Throws `io` where it cannot be read, or everyone may look into a secret. */
function contentOf(file: string, most: number, isSecret: boolean): string {
  let handle: number;
  try {
    handle = openSync(file, 'r');
  } catch (cause) {
    throw new InterlockError('io', file, `${file} cannot be read`, { cause });
  }
  try {
    const stat = fstatSync(handle);
    if (!stat.isFile()) throw new InterlockError('io', file, `${file} is no file`);
    if (isSecret && (stat.mode & EVERYONE) !== 0)
      throw new InterlockError('io', file, `everyone may look into ${file}: run "chmod 600 ${file}"`);
    const bytes = Buffer.alloc(most + 1);
    const length = readSync(handle, bytes);
    if (length > most) throw new InterlockError('limit', file, `${file} is larger than ${most} bytes`);
    return bytes.toString('utf8', 0, length).trim();
  } finally {
    closeSync(handle);
  }
}

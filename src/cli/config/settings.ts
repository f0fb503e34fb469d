import { KEY_ALGORITHMS, type KeyAlgorithm } from '../../identity/index.ts';
import { InvalidArgumentError, Option, trustDomainOption } from '../command.ts';
import { addressOption, durationOption } from '../control/options.ts';

/** One setting of the control plane: as a flag, an environment variable and a line of a file. */
export interface Setting<T> {
  /** What stands behind the flag; none for a switch. */
  readonly value?: string;
  readonly means: string;
  /** What holds where nothing is said, as a person would write it. */
  readonly otherwise?: string;
  /** Reads one value. Throws `InvalidArgumentError`. */
  readonly read: (text: string) => T;
  /** May be given several times: a list in a file, words apart by commas in the environment. */
  readonly isList?: true;
  /** Names a file: in a configuration file it is looked for beside that file. */
  readonly isFile?: true;
  /** Is a secret: a flag shows it to other users of the machine. */
  readonly isSecret?: true;
}

const text = (given: string) => {
  if (given === '') throw new InvalidArgumentError('it is empty');
  return given;
};
/** What is wrong with it is said where it is used: an error here would quote it. */
const anyText = (given: string) => given;
const file = { value: 'file', read: text, isFile: true } as const;

/** Every setting by its name: the flag is `--NAME`, the variable INTERLOCK_NAME, the line of a file `NAME: value`. */
export const SETTINGS = {
  'trust-domain': {
    value: 'name',
    means: 'sets up this trust domain where the state directory holds none yet; it cannot be changed later',
    read: trustDomainOption,
  },
  database: {
    value: 'url',
    means:
      'keep the state in PostgreSQL, which any number of control planes share: postgres://USER@HOST/DATABASE (docs/up.md); the password by PGPASSFILE, as other users of the machine may see a flag',
    otherwise: 'in the state directory',
    read: anyText,
    isSecret: true,
  },
  'key-file': {
    ...file,
    means:
      'with --database: the key that the keys of authorities are sealed with, of "interlock authority key-file"; the same at every control plane',
  },
  'key-type': {
    value: 'type',
    means: 'kind of key of the authorities that are set up',
    otherwise: 'ec-p256',
    read: keyTypeOption,
  },
  'authority-ttl': {
    value: 'duration',
    means: 'life of an authority that is set up',
    otherwise: '30d',
    read: durationOption,
  },
  issuer: {
    value: 'url',
    means:
      'the "iss" of JWT-SVIDs where the trust domain is set up: the public address of the OpenID endpoint',
    read: text,
  },
  listen: {
    value: 'host:port',
    means: 'where agents and proxies connect',
    otherwise: '127.0.0.1:8443',
    read: addressOption,
  },
  http: {
    value: 'host:port',
    means: 'where API and console are served; beyond this machine only with TLS',
    otherwise: '127.0.0.1:7080',
    read: addressOption,
  },
  'http-url': {
    value: 'url',
    means:
      'the address by which people and programs call API and console, behind a reverse proxy or by a name',
    read: urlOption,
  },
  'trusted-proxy': {
    value: 'cidr',
    means:
      'an address or range of reverse proxies in front of API and console, which are believed when they say whom a call is from; may be repeated (docs/up.md)',
    otherwise: 'none',
    read: text,
    isList: true,
  },
  'http-tls-cert': { ...file, means: 'certificate chain of API and console, PEM' },
  'http-tls-key': { ...file, means: 'its key, PEM' },
  'http-tls-svid': {
    means: 'serve API and console over TLS with the own SVID: for programs that know the trust bundle',
    read: switchOption,
  },
  'sign-in': {
    ...file,
    means: 'YAML: who may sign in through which provider, with which roles (docs/up.md)',
  },
  'metrics-token-file': {
    ...file,
    means: 'holds the token with which GET /metrics is read without a sign-in',
  },
  traces: {
    value: 'url',
    means: 'send OpenTelemetry traces to this OTLP/HTTP endpoint, such as http://127.0.0.1:4318/v1/traces',
    read: urlOption,
  },
  endpoints: {
    value: 'host:port',
    means: 'serve the bundle and the OpenID documents over HTTPS here',
    read: addressOption,
  },
  'endpoint-cert': {
    ...file,
    means: 'their certificate chain, PEM',
    otherwise: 'the own SVID, as https_spiffe has it',
  },
  'endpoint-key': { ...file, means: 'its key, PEM' },
  attestors: {
    ...file,
    means: 'YAML: how nodes may attest beside join tokens (k8s_psat, oidc, x509pop)',
  },
  'federation-ca': {
    ...file,
    means: 'authorities of https_web peers, PEM',
    otherwise: 'the public ones',
  },
  'wait-for-agents': {
    value: 'duration',
    means: 'how long a new authority that is due waits for agents to confirm it',
    otherwise: 'half of what the old one has left, a twelfth of its life',
    read: durationOption,
  },
  parent: { value: 'host:port', means: 'be a child authority of this control plane', read: text },
  'join-token': {
    value: 'token',
    means:
      'for a parent, the first time: from its "interlock authority token"; other users of the machine may see it in the list of processes',
    read: text,
    isSecret: true,
  },
  'join-token-file': { ...file, means: 'holds the join token; no file that everyone may read' },
  'node-proxy': {
    value: 'id',
    means: 'a SPIFFE ID (or all below one: ID/*) that may enforce for every workload; may be repeated',
    read: text,
    isList: true,
  },
  gates: {
    ...file,
    means: 'YAML: what promotions need, by tier, and how canaries widen (docs/readiness.md)',
  },
  notify: {
    ...file,
    means: 'YAML: whom to tell of what, by webhook or Slack (docs/notifications.md)',
  },
  owners: {
    ...file,
    means: 'who owns which workloads, a line each like CODEOWNERS (docs/review.md)',
  },
} as const satisfies Readonly<Record<string, Setting<unknown>>>;

export type SettingName = keyof typeof SETTINGS;

type ValueOf<S> = S extends { readonly read: (text: string) => infer T }
  ? S extends { readonly isList: true }
    ? readonly T[]
    : T
  : never;

/** What was set, by name; nothing where a setting was not given. */
export type Settings = { readonly [Name in SettingName]?: ValueOf<(typeof SETTINGS)[Name]> };

export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[];

export function settingOf(name: SettingName): Setting<unknown> {
  return SETTINGS[name];
}

export function variableOf(name: SettingName): string {
  return `INTERLOCK_${name.toUpperCase().replaceAll('-', '_')}`;
}

/** The flag of a setting. Without a default: what is not given is looked for elsewhere first. */
export function flagOf(name: SettingName): Option {
  const { value, means, otherwise, read, isList } = settingOf(name);
  const flags = value === undefined ? `--${name}` : `--${name} <${value}>`;
  const option = new Option(flags, otherwise === undefined ? means : `${means} (default: ${otherwise})`);
  if (value === undefined) return option;
  // Commander hands over the values before this one.
  if (isList === true)
    return option.argParser((given: string, before: unknown) => [
      ...(Array.isArray(before) ? before : []),
      read(given),
    ]);
  return option.argParser(read);
}

/** Every setting as a table of Markdown: docs/up.md has it. */
export function settingsTable(): string {
  const rows = SETTING_NAMES.map((name) => {
    const { value, means, otherwise = '' } = settingOf(name);
    const flag = value === undefined ? `--${name}` : `--${name} <${value}>`;
    return `| \`${flag}\` | \`${variableOf(name)}\` | ${means} | ${otherwise} |`;
  });
  return ['| flag | variable | meaning | default |', '|---|---|---|---|', ...rows].join('\n');
}

/** The name that commander gives to a flag's value. */
export function attributeOf(name: string): string {
  return name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function keyTypeOption(given: string): KeyAlgorithm {
  const known = Object.keys(KEY_ALGORITHMS).find((name) => name === given);
  // It has just been found among the keys of the table.
  if (known !== undefined) return known as KeyAlgorithm;
  throw new InvalidArgumentError(`one of ${Object.keys(KEY_ALGORITHMS).join(', ')}`);
}

function urlOption(given: string): URL {
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.username === '' && url.hash === '')
    return url;
  throw new InvalidArgumentError('an address is written https://HOST[:PORT]');
}

function switchOption(given: string): boolean {
  if (given === 'true') return true;
  if (given === 'false') return false;
  throw new InvalidArgumentError('true or false');
}

import { X509Certificate, createPrivateKey } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import type { ListenAddress } from '../../server/index.ts';
import type { Context } from '../command.ts';
import { EXIT } from '../exit.ts';
import { printable } from '../terminal.ts';
import { httpOptionsOf, notifyOf, serveOptionsOf, signInOf } from './serve-options.ts';
import type { Settings } from './settings.ts';

/** One look: its name, and what it found. Throws what is wrong. */
export interface Check {
  readonly name: string;
  readonly run: () => Promise<string>;
}

/** Looks whether a control plane could start with these settings, and changes nothing. Gives the exit code. */
export async function check(
  settings: Settings,
  state: string,
  { terminal, now }: Context,
  { tests = false }: { readonly tests?: boolean } = {},
): Promise<number> {
  let failed = 0;
  for (const { name, run } of await checksOf(settings, state, now, tests)) {
    try {
      terminal.line(printable(`ok      ${name}: ${await run()}`));
    } catch (error) {
      if (!isInterlockError(error)) throw error;
      failed++;
      terminal.line(printable(`failed  ${name}: ${error.message}`));
    }
  }
  return failed === 0 ? EXIT.done.code : EXIT.failed.code;
}

async function checksOf(
  settings: Settings,
  state: string,
  now: () => number,
  tests: boolean,
): Promise<Check[]> {
  const http = settings.http ?? { host: '127.0.0.1', port: 7080 };
  const checks: Check[] = [
    settings.database === undefined
      ? { name: 'state', run: () => checkState(state, settings) }
      : { name: 'database', run: () => checkShared(state, settings.database ?? '', settings) },
    { name: 'settings', run: async () => (await serveOptionsOf(settings), 'every file can be read') },
    { name: 'http', run: async () => checkHttp(settings) },
    { name: 'agents port', run: () => checkPort(settings.listen ?? { host: '127.0.0.1', port: 8443 }) },
    { name: 'http port', run: () => checkPort(http) },
  ];
  if (settings['sign-in'] !== undefined) checks.push({ name: 'sign-in', run: () => checkSignIn(settings) });
  if (settings.notify !== undefined) checks.push(...(await checkNotify(settings, tests)));
  if (settings.endpoints !== undefined)
    checks.push({ name: 'endpoints port', run: () => checkPort(settings.endpoints ?? http) });
  for (const [cert, key] of [
    ['http-tls-cert', 'http-tls-key'],
    ['endpoint-cert', 'endpoint-key'],
  ] as const)
    if (settings[cert] !== undefined)
      checks.push({ name: cert, run: async () => checkPair(settings, cert, key, now()) });
  return checks;
}

async function checkState(state: string, settings: Settings): Promise<string> {
  const { checkState: look } = await import('../../server/index.ts');
  if (existsSync(state) && (statSync(state).mode & 0o077) !== 0)
    throw new InterlockError('state', state, `others may enter ${state}: chmod 0700 ${state}`);
  return checkDomain(existsSync(state) ? await look(state) : undefined, state, settings);
}

/** Whether the database answers, its keys are sealed with the key of the file, and its trust domain is the one that is wanted. */
async function checkShared(dir: string, url: string, settings: Settings): Promise<string> {
  const { checkDatabase, checkState: look } = await import('../../server/index.ts');
  const options = { dir, url, keyFile: settings['key-file'] };
  const { name, tables, found, keys } = await checkDatabase(options, (place) => look(place));
  if (tables === 'older') return `the database ${name} is of an older version: it is migrated at the start`;
  return `${checkDomain(found, `the database ${name}`, settings)}${keys === undefined ? '' : `; ${keys}`}`;
}

function checkDomain(there: { trustDomain: string } | undefined, state: string, settings: Settings): string {
  const wanted = settings['trust-domain'];
  if (there === undefined) {
    if (settings.parent !== undefined) return `${state} will be a child of ${settings.parent}`;
    if (wanted !== undefined) return `${state} will be set up for ${wanted}`;
    throw new InterlockError(
      'usage',
      '--trust-domain',
      `${state} holds no trust domain yet: name it with --trust-domain`,
    );
  }
  if (wanted !== undefined && wanted !== there.trustDomain)
    throw new InterlockError('conflict', state, `${state} holds ${there.trustDomain}, not ${wanted}`);
  return `${state} holds ${there.trustDomain}`;
}

async function checkHttp(settings: Settings): Promise<string> {
  const { httpNames } = await import('../../server/index.ts');
  const options = await httpOptionsOf(settings);
  const { trustedProxies = [] } = options;
  const by = trustedProxies.length === 0 ? 'no proxy' : `the proxies ${trustedProxies.join(', ')}`;
  return `served as ${httpNames(options)}; ${by} may say whom a call is from`;
}

async function checkSignIn(settings: Settings): Promise<string> {
  const { providerFault } = await import('../../server/index.ts');
  const config = await signInOf(settings);
  if (config?.oidc === undefined) return 'no provider';
  const { issuer } = config.oidc;
  const fault = await providerFault(config.oidc, config.clientSecret);
  if (fault !== undefined) throw new InterlockError('unavailable', issuer, `${issuer}: ${fault}`);
  return `${issuer} answers`;
}

/** The channels of notifications; `tests` sends a message to each. A file that cannot be read is said where settings are checked. */
async function checkNotify(settings: Settings, tests: boolean): Promise<Check[]> {
  const config = await notifyOf(settings).catch(() => undefined);
  const { realTimers, sendTest } = await import('../../server/index.ts');
  return (config?.channels ?? []).map((channel) => ({
    name: `channel ${channel.name}`,
    run: async () => {
      const host = channel.url.hostname;
      if (!tests) return `sends to ${host}; --test-notifications tries it`;
      const tested = await sendTest(channel, {
        who: 'interlock up --check',
        timers: realTimers,
        origin: undefined,
      });
      if (tested.isDelivered) return `${host} has taken a test`;
      throw new InterlockError('unavailable', channel.name, tested.fault ?? 'not delivered');
    },
  }));
}

/** Whether a port can be taken: it is, for a moment. */
async function checkPort({ host, port }: ListenAddress): Promise<string> {
  const server = createServer();
  const opened = Promise.withResolvers<void>();
  server.once('error', opened.reject);
  server.listen({ host, port, exclusive: true }, opened.resolve);
  try {
    await opened.promise;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new InterlockError('io', `${host}:${port}`, `${host}:${port} cannot be taken: ${why}`, { cause });
  }
  await new Promise((closed) => server.close(closed));
  return `${host}:${port} is free`;
}

type CertName = 'http-tls-cert' | 'endpoint-cert';
type KeyName = 'http-tls-key' | 'endpoint-key';

/** Whether a certificate and its key belong together, and the certificate is valid now. */
async function checkPair(
  settings: Settings,
  certName: CertName,
  keyName: KeyName,
  now: number,
): Promise<string> {
  const { readText } = await import('../files.ts');
  const certFile = settings[certName] ?? '';
  const keyFile = settings[keyName] ?? '';
  const certificate = read(certFile, 'certificate', () => new X509Certificate(readText(certFile)));
  const key = read(keyFile, 'key', () => createPrivateKey(readText(keyFile)));
  if (!certificate.checkPrivateKey(key))
    throw new InterlockError('invalid_certificate', certFile, `${keyFile} is not the key of ${certFile}`);
  if (certificate.validToDate.getTime() <= now)
    throw new InterlockError('invalid_certificate', certFile, `${certFile} ended ${certificate.validTo}`);
  if (certificate.validFromDate.getTime() > now)
    throw new InterlockError(
      'invalid_certificate',
      certFile,
      `${certFile} is valid only from ${certificate.validFrom}`,
    );
  return `${certificate.subjectAltName ?? certificate.subject}, until ${certificate.validToDate.toISOString().slice(0, 16)}Z`;
}

function read<T>(file: string, what: string, get: () => T): T {
  try {
    return get();
  } catch (cause) {
    if (isInterlockError(cause)) throw cause;
    throw new InterlockError('invalid_certificate', file, `${file} holds no ${what} in PEM`, { cause });
  }
}

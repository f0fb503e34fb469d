import { readFileSync } from 'node:fs';
import { InterlockError } from '../../access/index.ts';
import { readOwners } from '../../rollout/index.ts';
import type { HttpOptions, NotifyConfig, ServeOptions, SignInConfig } from '../../server/index.ts';
import { ioError } from '../files.ts';
import { readGates } from '../gates-file.ts';
import { joinTokenOf } from '../join-token.ts';
import type { Settings } from './settings.ts';

const LISTEN = { host: '127.0.0.1', port: 8443 };
const HTTP = { host: '127.0.0.1', port: 7080 };

/** The settings that say what is served, without who serves it. */
type Served = Omit<ServeOptions, 'state' | 'timers' | 'log' | 'version'>;

/** What a control plane serves by its settings. Reads the files that they name. Throws `usage`, `io`, `invalid_document`. */
export async function serveOptionsOf(settings: Settings): Promise<Served> {
  const { attestorsFrom } = await import('../../server/index.ts');
  const { gates, owners, attestors, endpoints, parent } = settings;
  const rules = gates === undefined ? undefined : readGates(gates);
  const federationCa = settings['federation-ca'];
  const identity = identityOf(settings, 'endpoint-cert', 'endpoint-key');
  return {
    listen: settings.listen ?? LISTEN,
    endpoints: endpoints && { ...endpoints, identity },
    attestors: attestors === undefined ? undefined : attestorsFrom(text(attestors), attestors),
    patience: settings['wait-for-agents'],
    federationCa: federationCa === undefined ? undefined : [text(federationCa)],
    parent: parent === undefined ? undefined : { address: parent, joinToken: tokenOf(settings) },
    nodeProxies: settings['node-proxy'],
    traces: settings.traces,
    gates: rules?.gates,
    notify: await notifyOf(settings),
    owners: owners === undefined ? undefined : readOwners(text(owners), owners),
    canary: rules?.canary,
  };
}

/** How API and console are served by the settings. */
export async function httpOptionsOf(settings: Settings): Promise<HttpOptions> {
  const url = settings['http-url'];
  if (url !== undefined && (url.pathname !== '/' || url.search !== ''))
    throw new InterlockError('usage', '--http-url', '--http-url is an address without a path');
  const given = identityOf(settings, 'http-tls-cert', 'http-tls-key');
  const svid = settings['http-tls-svid'] === true;
  if (given !== undefined && svid)
    throw new InterlockError('usage', '--http-tls-svid', 'give --http-tls-svid or --http-tls-cert, not both');
  const tls = given ?? (svid ? 'svid' : undefined);
  return {
    ...(settings.http ?? HTTP),
    url,
    tls,
    trustedProxies: settings['trusted-proxy'],
    metricsToken: metricsTokenOf(settings),
    signIn: await signInOf(settings),
  };
}

function metricsTokenOf({ 'metrics-token-file': file }: Settings): string | undefined {
  if (file === undefined) return undefined;
  const token = text(file).trim();
  if (token.length >= 16) return token;
  throw new InterlockError(
    'usage',
    file,
    `the token in ${file} is shorter than 16 characters: anybody could guess it`,
  );
}

/** Who may sign in by the file of `--sign-in`. Throws `invalid_document`, `io`. */
export async function signInOf({ 'sign-in': file }: Settings): Promise<SignInConfig | undefined> {
  if (file === undefined) return undefined;
  const { signInConfigFrom } = await import('../../server/index.ts');
  return signInConfigFrom(text(file), file);
}

/** Whom to tell by the file of `--notify`. Throws `invalid_document`, `io`. */
export async function notifyOf({ notify: file }: Settings): Promise<NotifyConfig | undefined> {
  if (file === undefined) return undefined;
  const { notifyConfigFrom } = await import('../../server/index.ts');
  return notifyConfigFrom(text(file), file);
}

function tokenOf(settings: Settings) {
  const joinToken = settings['join-token'];
  const joinTokenFile = settings['join-token-file'];
  if (joinToken !== undefined && joinTokenFile !== undefined)
    throw new InterlockError('usage', '--join-token', 'give --join-token or --join-token-file, not both');
  return joinTokenOf({
    ...(joinToken === undefined ? {} : { joinToken }),
    ...(joinTokenFile === undefined ? {} : { joinTokenFile }),
  });
}

function identityOf(
  settings: Settings,
  cert: 'endpoint-cert' | 'http-tls-cert',
  key: 'endpoint-key' | 'http-tls-key',
): { chain: string; key: string } | undefined {
  const certFile = settings[cert];
  const keyFile = settings[key];
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile === undefined || keyFile === undefined)
    throw new InterlockError('usage', `--${cert}`, `--${cert} and --${key} are given together`);
  return { chain: text(certFile), key: text(keyFile) };
}

function text(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw ioError(file, cause);
  }
}

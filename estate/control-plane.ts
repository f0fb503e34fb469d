import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { isInterlockError } from '../src/access/index.ts';
import { type IdentityRule, readIdentityRules } from '../src/identity/index.ts';
import { Api } from '../src/cli/control/api.ts';
import type { Child, Children } from './children.ts';
import { type Place, ROOT } from './place.ts';
import type { Ports } from './ports.ts';
import { idOf, SERVICES, TRUST_DOMAIN } from './services.ts';

/** The command line, as its processes are started. */
export const INTERLOCK = join(ROOT, 'bin/interlock.mjs');
const GATES = join(ROOT, 'estate/gates.yaml');
const LOOK_MS = 25;

/** A control plane of its own, with the authorities of the trust domain. */
export interface Plane {
  readonly api: Api;
  readonly child: Child;
  /** HOST:PORT for agents and proxies. */
  readonly address: string;
  readonly state: string;
}

/** The one place that says how the control plane is started. */
function serveArguments(state: string, address: string, http: string): readonly string[] {
  return [INTERLOCK, 'up', '--state', state, '--listen', address, '--http', http, '--gates', GATES];
}

/**
 * Sets up the trust domain in a fresh state and serves it: a root that stays offline, and the intermediate that signs.
 * Resolves when the API answers.
 */
export async function startPlane(place: Place, ports: Ports, children: Children): Promise<Plane> {
  const state = join(place.dir, 'state');
  const root = join(place.dir, 'offline-root');
  const init = [INTERLOCK, 'authority', 'init', '--trust-domain', TRUST_DOMAIN];
  const made = children.start(
    {
      name: 'authority-init',
      binary: 'control-plane',
      args: [...init, '--offline-root', root, '--state', state],
    },
    { mayEnd: true },
  );
  const how = await children.end(made);
  if (how !== 'exit code 0')
    throw new Error(`the authority was not set up (${how}): ${made.lastLines.join('\n')}`);
  const [address, http] = [`127.0.0.1:${ports.take()}`, `127.0.0.1:${ports.take()}`];
  const child = children.start({
    name: 'control-plane',
    binary: 'control-plane',
    args: serveArguments(state, address, http),
  });
  const api = new Api({ state });
  const answers = async () => {
    for (;;) {
      try {
        return await api.call('status.get');
      } catch (error) {
        if (!isInterlockError(error) || error.code !== 'unavailable') throw error;
        await pause(LOOK_MS);
      }
    }
  };
  await Promise.race([answers(), children.died]);
  return { api, child, address, state };
}

/** A link that signs one person in to the console, once; undefined where this control plane serves none. */
export async function signInLink({ api }: Plane): Promise<string | undefined> {
  try {
    return (await api.call('sign-in-links.make', { body: {} })).url;
  } catch (error) {
    if (isInterlockError(error)) return undefined;
    throw error;
  }
}

/** Gives every service the identity of its executable, and a node the right to be an agent. Returns the file of the join token. */
export async function admit({ api }: Plane, place: Place): Promise<string> {
  const yaml = Object.keys(SERVICES)
    .map(
      (name) => `apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: ${name} }
spec: { spiffeId: "${idOf(name)}", selectors: [${JSON.stringify(`unix:path:${place.binary(name)}`)}], ttl: 1h }
`,
    )
    .join('---\n');
  const file = join(place.dir, 'identities', 'rules.yaml');
  writeFileSync(file, yaml, { mode: 0o600 });
  const rules: readonly IdentityRule[] = readIdentityRules(yaml, file);
  await api.call('rules.apply', { body: { rules } });
  const { token } = await api.call('join-tokens.make', { body: { agent: 'node-1' } });
  const tokenFile = join(place.dir, 'identities', 'node.token');
  writeFileSync(tokenFile, token, { mode: 0o600 });
  return tokenFile;
}

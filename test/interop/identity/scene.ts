import { chownSync } from 'node:fs';
import type { Checks } from './checks.ts';
import { Workload } from './client.ts';
import type { Domain } from './domain.ts';

/** The trust domain that is looked at, and the one that it federates with. */
export const OWN = 'interop.test';
export const OTHER = 'other.test';

/** Users that workloads run as. They need no entry in the user database. */
export const USERS = {
  web: 41001,
  db: 41002,
  brief: 41003,
  proxy: 41005,
  late: 41006,
  peer: 41007,
  stranger: 41008,
  nobody: 41009,
} as const;
/** The delegate runs as root, as the admin socket asks, and is known by its executable. */
export type User = keyof typeof USERS | 'delegate';

/** The SPIFFE ID that a user's processes are given. */
export function idOf(user: User): string {
  const domain = user === 'peer' || user === 'stranger' ? OTHER : OWN;
  return `spiffe://${domain}/${user}`;
}

/** All that the checks work with. */
export interface Scene {
  readonly checks: Checks;
  readonly own: Domain;
  readonly other: Domain;
  /** The client on go-spiffe, and the same program under the name by which the delegate is known. */
  readonly client: string;
  readonly delegate: string;
}

/** The client as one user, against the agent of the user's domain. */
export function workload({ client, delegate, own, other }: Scene, user: User): Workload {
  if (user === 'delegate') return new Workload(delegate, 0, own.socket);
  const domain = idOf(user).startsWith(`spiffe://${OTHER}/`) ? other : own;
  return new Workload(client, USERS[user], domain.socket);
}

/** A directory that belongs to one user. */
export function directoryOf(domain: Domain, name: string, user: keyof typeof USERS): string {
  return domain.directory(name, (path) => chownSync(path, USERS[user], USERS[user]));
}

/** A rule for one user. */
export function ruleFor(user: keyof typeof USERS, more: object = {}): readonly [string, object] {
  return [user, { spiffeId: `/${user}`, selectors: [`unix:uid:${USERS[user]}`], ...more }];
}

/** Starts both domains, federated, with a rule for each user but "late" and "nobody". */
export async function setUp({ own, other, delegate }: Omit<Scene, 'checks' | 'client'>): Promise<void> {
  await Promise.all([own.start(), other.start()]);
  await federate(own, other);
  await federate(other, own);
  await own.rules(
    ruleFor('web', {
      hint: 'internal',
      dnsNames: ['web.interop.test'],
      jwtTtl: '2m',
      federatesWith: [OTHER],
    }),
    ruleFor('db', { hint: 'primary' }),
    ['db-admin', { spiffeId: '/db/admin', selectors: [`unix:uid:${USERS.db}`], hint: 'admin' }],
    ruleFor('brief', { ttl: '1m' }),
    ['delegate', { spiffeId: '/delegate', selectors: ['unix:uid:0', `unix:path:${delegate}`] }],
    ruleFor('proxy', { federatesWith: [OTHER] }),
  );
  await other.rules(ruleFor('peer', { federatesWith: [OWN] }), ruleFor('stranger'));
}

async function federate(domain: Domain, peer: Domain): Promise<void> {
  const endpoint = ['--endpoint', `https://127.0.0.1:${peer.endpoints}/bundle`];
  const proof = ['--spiffe-id', `spiffe://${peer.name}/interlock/server`];
  await domain.interlock(
    'federation',
    'add',
    peer.name,
    ...endpoint,
    ...proof,
    '--bundle',
    await peer.bundleFile(),
  );
}

// The built-in proxy as `proxy.ts` measures it: both ends of mutual TLS in one process on one core, as HAProxy has them.
// Arguments: the folder of the certificates, the first of six ports, the port of the program, how many rules are enforced.
import { readFileSync } from 'node:fs';
import { createPrivateKey } from 'node:crypto';
import { certificatesFromPem } from '../src/identity/index.ts';
import { parseSpiffeId } from '../src/access/index.ts';
import type { AccessPolicy, Rule } from '../src/policy/index.ts';
import {
  DEFAULT_TIMEOUTS,
  InboundListener,
  type InboundRoute,
  newCounters,
  OutboundListener,
  type OutboundRoute,
  Uplinks,
  Verdicts,
} from '../src/proxy/index.ts';
import { systemClock, type X509View } from '../src/workload/index.ts';

const [dir = '.', first = '0', program = '0', rules = '0'] = process.argv.slice(2);
const WEB = parseSpiffeId('spiffe://example.org/web');
const DB = parseSpiffeId('spiffe://example.org/db');

/** An identity that does not change. */
function viewOf(name: string): X509View {
  const certificates = (file: string) => certificatesFromPem(readFileSync(`${dir}/${file}`, 'utf8'));
  const chain = certificates(`${name}.crt`);
  const svid = {
    spiffeId: parseSpiffeId(`spiffe://example.org/${name}`),
    chain,
    key: createPrivateKey(readFileSync(`${dir}/${name}.key`)),
    expiresAt: chain[0]?.notAfter ?? 0,
    hint: '',
  };
  const x509Authorities = certificates('root.pem').map(({ der }) => der);
  const bundle = { trustDomain: 'example.org', x509Authorities, jwtAuthorities: [] };
  const state = { svid, svids: [svid], bundles: new Map([['example.org', bundle]]), crls: [] };
  return { state, onUpdate: () => () => {} };
}

/** Rules of other callers around the one that allows. */
function policyOf(count: number): AccessPolicy {
  const rule = (i: number): Rule => ({
    name: `rule-${i}`,
    from: [{ workload: i === count >> 1 ? WEB : `spiffe://example.org/caller-${i}` }],
    to: [{ http: { methods: ['GET', 'POST'], paths: ['/', `/items-${i}/{id}`] } }],
  });
  return {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'db' },
    spec: {
      protects: { workload: DB },
      tier: 'standard',
      stage: 'enforced',
      rules: Array.from({ length: count }, (_, i) => rule(i)),
      deny: [],
    },
  };
}

const shared = {
  clock: systemClock,
  timeouts: DEFAULT_TIMEOUTS,
  counters: newCounters(),
  log: ({ event, reason }: { event: string; reason: string }) => {
    if (event !== 'refused') console.error(`${event}: ${reason}`);
  },
};
const enforced = [policyOf(Number(rules))];
const ruled = new Verdicts();
ruled.replace([{ workload: DB, authentication: 'strict', stage: 'enforced', enforced, target: enforced }]);
const recorder = { record() {}, plaintext() {}, unreached() {} };
const at = (offset: number) => ({ host: '127.0.0.1', port: Number(first) + offset });
const uplinks = new Uplinks({ sources: new Map([[WEB, viewOf('web')]]), ...shared });
const forward = { host: '127.0.0.1', port: Number(program) };
// The rules are enforced at a third pair of ports of the same process: two processes differ by more than rules cost.
const pairs = [
  ['http', new Verdicts()],
  ['tcp', new Verdicts()],
  ['http', ruled],
] as const;
for (const [i, [protocol, verdicts]] of pairs.entries()) {
  const inbound: InboundRoute = { workload: DB, listen: at(2 * i + 1), forward, port: 80, protocol };
  await InboundListener.open({
    route: inbound,
    source: viewOf('db'),
    context: { ...shared, verdicts, recorder },
  });
  const outbound: OutboundRoute = {
    listen: at(2 * i),
    to: inbound.listen,
    peer: DB,
    protocol,
    workload: WEB,
  };
  await OutboundListener.open({ route: outbound, uplinks, ...shared });
}
console.log('ready');

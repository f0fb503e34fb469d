import { Directory, type Fact, Tally } from '../../access/index.ts';
import { source } from './index.ts';

// Objects and shortcuts that this folder's tests share.

/** What reading gave, ready to be compared. */
export interface Read {
  tally: Tally;
  facts: Fact[];
  directory: Directory;
  skips: string[];
}

/** Reads texts as one inventory. */
export function read(...texts: (string | Buffer)[]): Read {
  const tally = new Tally('kubernetes');
  const reader = source.open(tally, { now: 0 });
  for (const text of texts) reader.line(Buffer.from(text as string), 1);
  reader.end();
  const facts = [...tally.facts()];
  const skips = [...tally.skips()].map((s) => `${s.count} x ${s.reason} @${s.firstLine}: ${s.sample}`);
  return { tally, facts, directory: new Directory(facts), skips };
}

/** Objects as `kubectl get -o json` gives them. */
export const json = (...items: unknown[]) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });

/** The declared graph, a line an access. */
export const declared = ({ directory }: Read) =>
  [...directory.declared()]
    .map(({ from, to, port, by }) => {
      const callee = to.kind === 'workload' ? to.workload : to.kind === 'outside' ? to.from : to.kind;
      return `${from.workload} -> ${callee}:${port}${by === 'container' ? '' : ` (${by})`}`;
    })
    .toSorted();

/** A Service that selects the label app. */
export const service = (name: string, port = 80, targetPort: number | string = 8080) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name },
  spec: { selector: { app: name }, ports: [{ port, targetPort }] },
});

/** A Deployment whose pods have the label app. */
export const deployment = (name: string, podSpec: object, metadata: object = {}) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, ...metadata },
  spec: { template: { metadata: { labels: { app: name } }, spec: podSpec } },
});

/** A container with an image. */
export const container = (more: object = {}) => ({ name: 'c', image: 'app:1', ...more });

/** A pod as a cluster shows it. */
export const livePod = (name: string, metadata: object, status: object = {}, spec: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name,
    namespace: 'shop',
    uid: `u-${name}`,
    creationTimestamp: '2026-01-01T00:00:00Z',
    ...metadata,
  },
  spec: { serviceAccountName: 'sa', containers: [container()], ...spec },
  status: { phase: 'Running', startTime: '2026-01-01T00:00:05Z', podIPs: [{ ip: '10.0.0.1' }], ...status },
});

/** Metadata that names an owner. */
export const controller = (kind: string, name: string) => ({
  ownerReferences: [{ apiVersion: 'x', kind, name, uid: 'u', controller: true }],
});

import { InterlockError, principalText, type SpiffeId } from '../../../access/index.ts';
import type { Answer, Checked, WorkloadShown } from '../../../api/index.ts';
import { TIERS } from '../../../policy/index.ts';
import { judge, promotionChecks } from '../../../rollout/index.ts';
import {
  bytesOf,
  countsOf,
  EstateReader,
  type JudgedAccess,
  neighbours,
  proposalOf,
  stageText,
  workloadIds,
  workloadShown,
} from '../../estate/index.ts';
import { type Handlers, Prepared } from '../handler.ts';
import { Graphs } from './graphs.ts';
import { pageOf } from '../page.ts';
import type { ApiParts } from '../parts.ts';
import { rolloutShown } from '../versions.ts';

/** Blind spots of one workload that are shown. */
const MOST_SPOTS = 500;

/** Proposals that are kept while nothing has changed: who looks at one asks for it again and again. */
const MOST_PROPOSALS = 50;

/** The estate: workloads, accesses, the graph, and what the evidence says of them. */
export function estateHandlers(
  parts: ApiParts,
): Handlers<
  'workloads.list' | 'workloads.get' | 'accesses.list' | 'graph.get' | 'proposals.get' | 'readiness.get'
> {
  const { enforcing, estate, events, timers, onFault } = parts;
  const onDoubts = () => events.publish('proposal', '');
  const reader = new EstateReader({ estate, enforcing, timers, onDoubts, onFault });
  const graphs = new Graphs(parts, reader);
  const proposals = new Map<SpiffeId, { readonly version: string; readonly made: Answer<'proposals.get'> }>();
  return {
    'workloads.list': async ({ query }) => {
      await reader.ready();
      return reader.sliced(listWorkloads(parts, reader, query));
    },
    'workloads.get': async ({ params: { workload } }) => {
      await reader.ready();
      reader.checkKnown(workload);
      return oneWorkload(parts, reader, workload);
    },
    'accesses.list': async ({ query }) => {
      await reader.ready();
      const found = reader.judged.accesses.filter(wanted(query));
      const { items, next } = pageOf(found, query, ({ key }) => key);
      const { version } = reader;
      const tail = next === undefined ? '' : `,"next":${JSON.stringify(next)}`;
      const json = bytesOf([
        Buffer.from('{"accesses":['),
        await reader.jsonOf(items),
        Buffer.from(`],"total":${found.length}${tail}}`),
      ]);
      return new Prepared(json, next, `${version} ${JSON.stringify(query)}`);
    },
    'graph.get': async ({ query }) => {
      await reader.ready();
      return graphs.of(query);
    },
    'proposals.get': async ({ params: { workload } }) => {
      await reader.ready();
      if (!reader.graph.workloads.has(workload)) throw nothingRecorded(workload);
      const known = proposals.get(workload);
      if (known?.version === reader.version) return known.made;
      const made = proposalOf(reader, workload);
      proposals.delete(workload);
      proposals.set(workload, { version: reader.version, made });
      const [oldest] = proposals.keys();
      if (proposals.size > MOST_PROPOSALS && oldest !== undefined) proposals.delete(oldest);
      return made;
    },
    'readiness.get': ({ params: { workload } }) => readinessOf(parts, workload),
  };
}

function nothingRecorded(workload: SpiffeId): InterlockError {
  return new InterlockError(
    'not_found',
    workload,
    `no recording or manifest names the workload ${workload}: observe it first`,
  );
}

/** A workload in a step. */
function* listWorkloads(
  { enforcing }: ApiParts,
  reader: EstateReader,
  { namespace, stage, search, ...query }: Checked<'workloads.list', 'query'>,
): Generator<void, Answer<'workloads.list'>> {
  const counts = countsOf(enforcing);
  const found = workloadIds(reader, enforcing, counts).filter((id) => {
    if (search !== undefined && !id.includes(search)) return false;
    if (stage === 'released') return reader.releaseOf(id) !== undefined;
    return stage === undefined || stageText(reader, id) === stage;
  });
  const all: WorkloadShown[] = [];
  for (const id of found) {
    const shown = workloadShown(reader, id, counts);
    if (namespace === undefined || shown.namespace === namespace) all.push(shown);
    yield;
  }
  const page = pageOf(all, query, ({ id }) => id);
  return { workloads: page.items, total: all.length, next: page.next };
}

function oneWorkload({ enforcing }: ApiParts, reader: EstateReader, id: SpiffeId): Answer<'workloads.get'> {
  const shown = workloadShown(reader, id, countsOf(enforcing));
  const workload = reader.graph.workloads.get(id);
  const rollout = reader.rolloutOf(id);
  const isOwn = (text: string) => text === id;
  const spots = reader.graph.blindSpots
    .filter(({ from, to }) => isOwn(principalText(from)) || isOwn(principalText(to)))
    .slice(0, MOST_SPOTS);
  return {
    ...shown,
    identifiedBy: workload?.identifiedBy,
    kind: workload?.kind,
    serviceAccount: workload?.serviceAccount,
    labels: workload?.labels ?? {},
    marks: workload?.marks ?? {},
    ports: workload?.ports ?? [],
    hostNetwork: workload?.hostNetwork ?? false,
    schedule: workload?.schedule,
    timeZone: workload?.timeZone,
    deployedAt: workload?.deployedAt,
    calledBy: neighbours(reader.to(id), 'from'),
    calls: neighbours(reader.from(id), 'to'),
    ...(rollout === undefined ? {} : { rollout: rolloutShown(rollout) }),
    ...(rollout?.stage === 'canary' ? { canary: enforcing.canaries.next(rollout) } : {}),
    proxies: enforcing.points.of(id),
    plaintextCallers: enforcing.evidence
      .plaintextCallers(id, 0)
      .map(({ from, port, workload: behind, connections, firstSeen, lastSeen }) => ({
        from,
        port,
        workload: behind,
        connections,
        firstSeen,
        lastSeen,
      })),
    blindSpots: spots.map(({ kind, from, to, what, count }) => ({
      kind,
      from: principalText(from),
      to: principalText(to),
      what,
      count,
    })),
  };
}

function wanted(query: Checked<'accesses.list', 'query'>): (access: JudgedAccess) => boolean {
  const { from, to, view, state, authentication, firstSince } = query;
  const isFrom = pattern(from);
  const isTo = pattern(to);
  return (access) =>
    isTo(access.to) &&
    isFrom(access.from) &&
    (view === undefined || access.views.includes(view)) &&
    (state === undefined || access.state === state) &&
    (authentication === undefined || access.authentication === authentication) &&
    (firstSince === undefined || isSeenSince(access, firstSince));
}

function isSeenSince({ access }: JudgedAccess, since: number): boolean {
  const firstSeen = access?.evidence.firstSeen ?? Number.NEGATIVE_INFINITY;
  return firstSeen >= since && Number.isFinite(firstSeen);
}

function pattern(text: string | undefined): (value: string) => boolean {
  if (text === undefined) return () => true;
  if (!text.endsWith('*')) return (value) => value === text;
  const start = text.slice(0, -1);
  return (value) => value.startsWith(start);
}

async function readinessOf(
  { enforcing, gatekeeper }: ApiParts,
  workload: SpiffeId,
): Promise<Answer<'readiness.get'>> {
  const looked = await gatekeeper.look(workload);
  const { readiness } = looked;
  if (readiness === undefined) throw nothingRecorded(workload);
  const facts = gatekeeper.facts(looked);
  const { gates } = enforcing.rules;
  const known = { ...readiness, promotion: facts.promotion };
  return {
    tier: facts.tier,
    gates: promotionChecks(facts, gates),
    readiness,
    tiers: TIERS.map((tier) => judge(known, tier, gates)),
  };
}

import { InterlockError, principalText, type SpiffeId } from '../../../access/index.ts';
import type { Answer, Checked } from '../../../api/index.ts';
import { accessUnits, propose, readiness } from '../../../learning/index.ts';
import { TIERS } from '../../../policy/index.ts';
import { judge } from '../../../rollout/index.ts';
import {
  countsOf,
  EstateReader,
  graphOf,
  type JudgedAccess,
  neighbours,
  proposalOf,
  stageText,
  tierOf,
  workloadIds,
  workloadShown,
} from '../../estate/index.ts';
import { type Handlers, Prepared } from '../handler.ts';
import { pageOf } from '../page.ts';
import type { ApiParts } from '../parts.ts';
import { rolloutShown } from '../versions.ts';

/** Blind spots of one workload that are shown. */
const MOST_SPOTS = 500;

/** The estate: workloads, accesses, the graph, and what the evidence says of them. */
export function estateHandlers(
  parts: ApiParts,
): Handlers<
  'workloads.list' | 'workloads.get' | 'accesses.list' | 'graph.get' | 'proposals.get' | 'readiness.get'
> {
  const { enforcing, estate, events, timers, onFault } = parts;
  const onDoubts = () => events.publish('proposal', '');
  const reader = new EstateReader({ estate, enforcing, timers, onDoubts, onFault });
  return {
    'workloads.list': async ({ query }) => {
      await reader.ready();
      return listWorkloads(parts, reader, query);
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
      const json = `{"accesses":[${await reader.jsonOf(items)}],"total":${found.length}${tail}}`;
      return new Prepared(json, next, `${version} ${JSON.stringify(query)}`);
    },
    'graph.get': async ({ query }) => {
      await reader.ready();
      const facts = {
        stageOf: (workload: SpiffeId) => stageText(reader, workload),
        isReleased: (workload: SpiffeId) => reader.releaseOf(workload) !== undefined,
      };
      return graphOf(reader.judged, query, facts, timers.now());
    },
    'proposals.get': async ({ params: { workload } }) => {
      await reader.ready();
      if (!reader.graph.workloads.has(workload)) throw nothingRecorded(workload);
      return proposalOf(reader, workload);
    },
    'readiness.get': ({ params: { workload } }) => readinessOf(parts, reader, workload),
  };
}

function nothingRecorded(workload: SpiffeId): InterlockError {
  return new InterlockError(
    'not_found',
    workload,
    `no recording or manifest names the workload ${workload}: observe it first`,
  );
}

function listWorkloads(
  { enforcing }: ApiParts,
  reader: EstateReader,
  { namespace, stage, search, ...query }: Checked<'workloads.list', 'query'>,
): Answer<'workloads.list'> {
  const counts = countsOf(enforcing);
  const found = workloadIds(reader, enforcing, counts).filter((id) => {
    if (search !== undefined && !id.includes(search)) return false;
    if (stage === 'released') return reader.releaseOf(id) !== undefined;
    return stage === undefined || stageText(reader, id) === stage;
  });
  const all = found
    .map((id) => workloadShown(reader, id, counts))
    .filter((workload) => namespace === undefined || workload.namespace === namespace);
  const page = pageOf(all, query, ({ id }) => id);
  return { workloads: page.items, total: all.length, next: page.next };
}

function oneWorkload({ enforcing }: ApiParts, reader: EstateReader, id: SpiffeId): Answer<'workloads.get'> {
  const shown = workloadShown(reader, id, countsOf(enforcing));
  const workload = reader.graph.workloads.get(id);
  const rollout = reader.rolloutOf(id);
  const own = reader.byWorkload.get(id) ?? { to: [], from: [] };
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
    calledBy: neighbours(own.to, 'from'),
    calls: neighbours(own.from, 'to'),
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
  { enforcing, reviews, timers }: ApiParts,
  reader: EstateReader,
  workload: SpiffeId,
): Promise<Answer<'readiness.get'>> {
  const graph = await reader.covered();
  if (!graph.workloads.has(workload)) throw nothingRecorded(workload);
  const { doubts } = propose(graph, { to: workload });
  const decided = reviews.decidedDoubts(workload);
  const facts = readiness(graph, workload, {
    // The coming week is the one after what was recorded.
    now: Number.isFinite(graph.coverage.lastSeen) ? graph.coverage.lastSeen : timers.now(),
    units: accessUnits(graph, workload),
    doubts: doubts.map(({ id, reasons }) => {
      const decidedBy = decided.get(id);
      return { id, reasons, ...(decidedBy === undefined ? {} : { decidedBy }) };
    }),
  });
  return {
    tier: reader.rolloutOf(workload)?.tier ?? tierOf(graph.workloads.get(workload)) ?? 'standard',
    readiness: facts,
    tiers: TIERS.map((tier) => judge(facts, tier, enforcing.rules.gates)),
  };
}

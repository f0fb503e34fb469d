import {
  type Action,
  type BlindSpot,
  canonicalEndpoint,
  type Endpoint,
  type Evidence,
  emptyEvidence,
  type Fact,
  factKey,
  MAX_INSTANCES,
  mergeEvidence,
  type Side,
  type Tally,
} from '../../../access/index.ts';
import type { Session } from '../session.ts';
import { digestOf, JsonValue, MAX_COUNT, utf16Of } from '../values.ts';
import { CHUNK, type Ids, idIn, type Interner } from './interner.ts';

export const endpointText = (end: Endpoint) => JSON.stringify(canonicalEndpoint(end));

/** The action with its fields in one order, so that equal actions are equal texts. */
function actionText(action: Action): string {
  const { kind, port } = action;
  if (action.kind === 'http') return JSON.stringify({ kind, port, method: action.method, path: action.path });
  if (action.kind === 'grpc')
    return JSON.stringify({ kind, port, service: action.service, method: action.method });
  return JSON.stringify({ kind, port });
}

const clipped = (n: number) => Math.max(-MAX_COUNT, Math.min(MAX_COUNT, n));

/** An access that was added up over several tallies: of one statement, each row may be written once. */
interface Sum {
  readonly action: string;
  readonly from: string;
  readonly to: string;
  readonly side: Side;
  readonly evidence: Evidence;
}

/** What several tallies counted, added up before anything is sent. */
export class Content {
  readonly #accesses = new Map<string, Sum>();
  readonly #spots = new Map<string, BlindSpot>();
  readonly #facts = new Map<string, Fact>();

  constructor(tallies: readonly Tally[]) {
    for (const tally of tallies) {
      for (const { from, to, action, side, evidence } of tally.accesses()) {
        const sum = { action: actionText(action), from: endpointText(from), to: endpointText(to), side };
        const key = `${sum.action}\n${sum.from}\n${sum.to}\n${side}`;
        const known = this.#accesses.get(key);
        const into = known?.evidence ?? emptyEvidence();
        mergeEvidence(into, evidence);
        if (known === undefined) this.#accesses.set(key, { ...sum, evidence: into });
      }
      for (const spot of tally.blindSpots()) this.#addSpot(spot);
      for (const fact of tally.facts()) this.#facts.set(factKey(fact), fact);
    }
  }

  #addSpot(spot: BlindSpot): void {
    const key = `${spot.kind}\n${endpointText(spot.from)}\n${endpointText(spot.to)}\n${spot.what}`;
    const known = this.#spots.get(key);
    const { action = known?.action, ...rest } = spot;
    this.#spots.set(key, {
      ...rest,
      ...(action === undefined ? {} : { action }),
      count: spot.count + (known?.count ?? 0),
      firstSeen: Math.min(spot.firstSeen, known?.firstSeen ?? spot.firstSeen),
      lastSeen: Math.max(spot.lastSeen, known?.lastSeen ?? spot.lastSeen),
    });
  }

  /**
   * Adds all of it inside a transaction; gives the numbers that endpoints and actions have. Everybody writes the tables in
   * the same order, and the rows of each by ascending key: no two writers ever wait for each other in a circle.
   */
  async write(session: Session, interner: Interner): Promise<{ endpoints: Ids; actions: Ids }> {
    const sums = [...this.#accesses.values()];
    const spots = [...this.#spots.values()];
    const ends = new Set(sums.flatMap(({ from, to }) => [from, to]));
    for (const { from, to } of spots) ends.add(endpointText(from)).add(endpointText(to));
    const endpoints = await interner.idsOf(session, 'endpoint', ends);
    const actions = await interner.idsOf(session, 'action', new Set(sums.map(({ action }) => action)));
    await writeAccesses(session, sums, endpoints, actions);
    await writeSpots(session, spots, endpoints);
    await writeFacts(session, this.#facts);
    return { endpoints, actions };
  }
}

// The instances that stay are the smallest by their bytes; a set that grows by nothing is left as it is.
const merged = (
  column: string,
  most = '',
) => `case when access.${column} @> excluded.${column} then access.${column} else
  (select array_agg(name order by name) from (select distinct name from unnest(access.${column} || excluded.${column}) as name
    order by name${most}) as kept) end`;
const names = (column: string) =>
  `(select coalesce(array_agg(decode(substr(name, 2), 'hex') order by name), '{}') from unnest(string_to_array(${column}, ',')) as name)`;

const ADD_ACCESSES = `insert into access (action, caller, callee, side, first_seen, last_seen, mutual, plaintext, instances, sources)
  select action, caller, callee, side, first_seen, last_seen, mutual, plaintext, ${names('instances')}, ${names('sources')}
  from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::float8[], $6::float8[], $7::bigint[], $8::bigint[],
    $9::text[], $10::text[]) as given (action, caller, callee, side, first_seen, last_seen, mutual, plaintext, instances, sources)
  on conflict (action, caller, callee, side) do update set
    first_seen = least(access.first_seen, excluded.first_seen), last_seen = greatest(access.last_seen, excluded.last_seen),
    mutual = least(access.mutual + excluded.mutual, ${MAX_COUNT}), plaintext = least(access.plaintext + excluded.plaintext, ${MAX_COUNT}),
    instances = ${merged('instances', ` limit ${MAX_INSTANCES}`)}, sources = ${merged('sources')}
  returning action, caller, callee, side, id`;
const ADD_COUNTS = `insert into access_count (access, key, n) select * from unnest($1::bigint[], $2::integer[], $3::bigint[])
  on conflict (access, key) do update set n = least(access_count.n + excluded.n, ${MAX_COUNT})`;

const packed = (texts: Iterable<string>) =>
  Array.from(texts, (text) => `x${utf16Of(text).toString('hex')}`).join(',');

async function writeAccesses(
  session: Session,
  sums: readonly Sum[],
  endpoints: Ids,
  actions: Ids,
): Promise<void> {
  const rows = sums
    .map((sum) => ({
      ...sum,
      key: [idIn(actions, sum.action), idIn(endpoints, sum.from), idIn(endpoints, sum.to)] as const,
    }))
    .toSorted(
      ({ key: a, side }, { key: b, side: other }) =>
        a[0] - b[0] || a[1] - b[1] || a[2] - b[2] || (side < other ? -1 : side > other ? 1 : 0),
    );
  const ids = new Map<string, number>();
  for (let at = 0; at < rows.length; at += CHUNK) {
    const part = rows.slice(at, at + CHUNK);
    const column = <T>(of: (row: (typeof rows)[number]) => T) => part.map(of);
    const added = await session.rows(
      ADD_ACCESSES,
      column(({ key }) => key[0]),
      column(({ key }) => key[1]),
      column(({ key }) => key[2]),
      column(({ side }) => side),
      column(({ evidence }) => evidence.firstSeen),
      column(({ evidence }) => evidence.lastSeen),
      column(({ evidence }) => clipped(evidence.mutual)),
      column(({ evidence }) => clipped(evidence.plaintext)),
      column(({ evidence }) => packed(evidence.instances)),
      column(({ evidence }) => packed(evidence.sources)),
    );
    for (const row of added) ids.set(row.slice(0, 4).join(' '), Number(row[4]));
  }
  await writeCounts(
    session,
    rows.map(({ key, side, evidence }) => ({ id: ids.get([...key, side].join(' ')), evidence })),
  );
}

async function writeCounts(
  session: Session,
  rows: readonly { readonly id: number | undefined; readonly evidence: Evidence }[],
): Promise<void> {
  const sorted = rows.flatMap(({ id, evidence }) => (id === undefined ? [] : [{ id, evidence }]));
  if (sorted.length < rows.length) throw new RangeError('the database gave no number to an access');
  sorted.sort((a, b) => a.id - b.id);
  let cells: [number[], number[], number[]] = [[], [], []];
  const flush = async () => {
    if (cells[0].length > 0) await session.changes(ADD_COUNTS, ...cells);
    cells = [[], [], []];
  };
  for (const { id, evidence } of sorted) {
    for (const [key, n] of evidence.counts) {
      cells[0].push(id);
      cells[1].push(key);
      cells[2].push(clipped(n));
    }
    if (cells[0].length >= 2 * CHUNK) await flush();
  }
  await flush();
}

const ADD_SPOTS = `insert into blind_spot (kind, caller, callee, what_digest, what, action, count, first_seen, last_seen)
  select * from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[], $5::text[], $6::json[], $7::bigint[], $8::float8[], $9::float8[])
  on conflict (kind, caller, callee, what_digest) do update set count = blind_spot.count + excluded.count,
    action = coalesce(blind_spot.action, excluded.action), first_seen = least(blind_spot.first_seen, excluded.first_seen),
    last_seen = greatest(blind_spot.last_seen, excluded.last_seen)`;
/** Those that add up to nothing; this transaction wrote them, so it has their locks. */
const DROP_SPOTS = `delete from blind_spot using unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[]) as given (kind, caller, callee, digest)
  where blind_spot.kind = given.kind and blind_spot.caller = given.caller and blind_spot.callee = given.callee
    and what_digest = digest and count = 0`;

async function writeSpots(session: Session, spots: readonly BlindSpot[], endpoints: Ids): Promise<void> {
  const rows = spots
    .map((spot) => ({
      ...spot,
      caller: idIn(endpoints, endpointText(spot.from)),
      callee: idIn(endpoints, endpointText(spot.to)),
      digest: digestOf(JSON.stringify(spot.what)),
    }))
    .toSorted(
      (a, b) =>
        (a.kind < b.kind ? -1 : a.kind > b.kind ? 1 : 0) ||
        a.caller - b.caller ||
        a.callee - b.callee ||
        Buffer.compare(a.digest, b.digest),
    );
  for (let at = 0; at < rows.length; at += CHUNK) {
    const part = rows.slice(at, at + CHUNK);
    const key = [
      part.map(({ kind }) => kind),
      part.map(({ caller }) => caller),
      part.map(({ callee }) => callee),
      part.map(({ digest }) => digest),
    ] as const;
    await session.changes(
      ADD_SPOTS,
      ...key,
      part.map(({ what }) => what),
      part.map(({ action }) => (action === undefined ? null : new JsonValue(action))),
      part.map(({ count }) => clipped(count)),
      part.map(({ firstSeen }) => firstSeen),
      part.map(({ lastSeen }) => lastSeen),
    );
    await session.changes(DROP_SPOTS, ...key);
  }
}

const ADD_FACTS = `insert into fact (digest, key, data) select * from unnest($1::bytea[], $2::text[], $3::json[])
  on conflict (digest) do update set data = excluded.data`;

async function writeFacts(session: Session, facts: ReadonlyMap<string, Fact>): Promise<void> {
  const rows = Array.from(facts, ([key, fact]) => ({
    digest: digestOf(JSON.stringify(key)),
    key,
    fact,
  })).toSorted((a, b) => Buffer.compare(a.digest, b.digest));
  for (let at = 0; at < rows.length; at += CHUNK) {
    const part = rows.slice(at, at + CHUNK);
    await session.changes(
      ADD_FACTS,
      part.map(({ digest }) => digest),
      part.map(({ key }) => key),
      part.map(({ fact }) => new JsonValue(fact)),
    );
  }
}

import { fromBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { discovery } from '../proto/envoy/index.ts';
import { Delivery } from './delivery.ts';
import { LIMITS } from './limits.ts';
import { hash, type Resource, type Snapshot, snapshotOf } from './resources.ts';
import type { Protocol } from './subscription.ts';
import {
  clusterOf,
  endpointsOf,
  httpListenerOf,
  listenerOf,
  nameOf,
  routesOf,
} from './testing.test-helper.ts';
import { type Kind, RESOURCE_TYPES, typeOfKind, typeOfUrl } from './types.ts';

/** What an answer says, whichever the protocol. */
interface Answer {
  readonly kind: Kind;
  readonly nonce: string;
  readonly version: string;
  /** Name -> bytes of the resource. */
  readonly resources: ReadonlyMap<string, string>;
  readonly removed: readonly string[];
}

/** Of each resource that the test makes: what it is, found by its bytes. */
const made = new Map<string, Resource>();

function remember(resource: Resource): Resource {
  made.set(keyOf(resource.type.kind, resource.name, resource.version), resource);
  return resource;
}

function keyOf(kind: Kind, name: string, version: string): string {
  return `${kind} ${name} ${version}`;
}

/** A proxy after Envoy's manner: it takes an answer whole or not at all, and asks for what its roots refer to. */
class Proxy {
  readonly #protocol: Protocol;
  readonly #has = new Map<Kind, Map<string, Resource>>();
  /** Clusters that were in answers, accepted or not, and were not taken away in one that was accepted. */
  #clusters = new Set<string>();
  readonly #versions = new Map<Kind, string>();
  #inbox: Answer[] = [];
  #delivery: Delivery | undefined;
  #nonces = new Map<Kind, string>();
  readonly #asked = new Map<Kind, Set<string>>();
  #isBack = false;

  constructor(protocol: Protocol) {
    this.#protocol = protocol;
    for (const { kind } of RESOURCE_TYPES) this.#has.set(kind, new Map());
  }

  get delivery(): Delivery {
    if (this.#delivery === undefined) throw new Error('not connected');
    return this.#delivery;
  }

  connect(snapshot: Snapshot | undefined): void {
    this.#isBack = this.#delivery !== undefined;
    this.#inbox = [];
    this.#nonces = new Map();
    this.#delivery = new Delivery({
      protocol: this.#protocol,
      limits: LIMITS,
      send: (bytes) => this.#inbox.push(this.#read(bytes)) > 0,
      onHeldBack: () => {},
    });
    if (snapshot !== undefined) this.#delivery.setSnapshot(snapshot);
    for (const kind of ['cds', 'eds', 'lds', 'rds'] as const) this.#begin(kind);
  }

  /** Takes one answer in; false where none waits. `judge` says whether a resource is good. */
  receive(judge: (resource: Resource) => boolean): boolean {
    const [first] = this.#inbox;
    if (first === undefined) return false;
    this.#inbox.shift();
    const { kind, nonce, version } = first;
    const resources = [...first.resources].map(([name, bytes]) => {
      const resource = made.get(keyOf(kind, name, bytes));
      if (resource === undefined) throw new Error(`${kind} ${name} is none that was made`);
      return resource;
    });
    expect(new Set(resources.map(({ name }) => name)).size).toBe(resources.length);
    const isGood = resources.every(judge);
    this.#check(first, resources, isGood);
    this.#nonces.set(kind, nonce);
    if (isGood) this.#accept(first, resources);
    this.#say(kind, isGood ? { version } : { refusal: 'bad' });
    if (isGood) this.#askForWhatIsReferredTo();
    return true;
  }

  /** Drops everything that it asked for by name, and asks for it again. */
  resubscribe(kind: 'eds' | 'rds'): void {
    const names = [...(this.#asked.get(kind) ?? [])];
    // Of complete lists, those written before the last answer was read do not count.
    const isUnread = this.#protocol === 'whole' && this.#inbox.some((answer) => answer.kind === kind);
    if (names.length === 0 || isUnread) return;
    this.#ask(kind, new Set());
    this.#ask(kind, new Set(names));
  }

  /** What it has and still asks for. */
  state(kind: Kind): Map<string, string> {
    const has = this.#has.get(kind) ?? new Map<string, Resource>();
    return new Map([...has].map(([name, { version }]) => [name, version]));
  }

  asked(kind: Kind): ReadonlySet<string> {
    return this.#asked.get(kind) ?? new Set();
  }

  #begin(kind: Kind): void {
    const { isRoot } = typeOfKind(kind);
    const names = [...this.asked(kind)];
    if (!isRoot && names.length === 0) return;
    const known = new Map([...this.state(kind)].filter(([name]) => isRoot || names.includes(name)));
    this.#request(kind, {
      names,
      version: this.#versions.get(kind) ?? '',
      known: this.#protocol === 'delta' ? known : new Map(),
    });
  }

  #say(kind: Kind, { version, refusal }: { version?: string; refusal?: string }): void {
    if (version !== undefined) this.#versions.set(kind, version);
    this.#request(kind, {
      names: this.#protocol === 'whole' ? [...this.asked(kind)] : [],
      version: this.#versions.get(kind) ?? '',
      refusal,
    });
  }

  #request(
    kind: Kind,
    { names = [], unsubscribe = [], version = '', refusal, known = new Map() }: Partial<Request>,
  ): void {
    const request = { node: undefined, typeUrl: '', nonce: this.#nonces.get(kind) ?? '' };
    this.delivery.take(typeOfKind(kind), { ...request, names, unsubscribe, version, refusal, known });
    this.delivery.push();
  }

  #ask(kind: Kind, names: Set<string>): void {
    const before = this.asked(kind);
    this.#asked.set(kind, names);
    const has = this.#has.get(kind);
    for (const name of before) if (!names.has(name)) has?.delete(name);
    const version = this.#versions.get(kind) ?? '';
    if (this.#protocol === 'whole') this.#request(kind, { names: [...names], version });
    else {
      const subscribe = [...names].filter((name) => !before.has(name));
      const unsubscribe = [...before].filter((name) => !names.has(name));
      const nonces = this.#nonces.get(kind);
      this.#nonces.delete(kind);
      this.#request(kind, { names: subscribe, unsubscribe });
      if (nonces !== undefined) this.#nonces.set(kind, nonces);
    }
  }

  #askForWhatIsReferredTo(): void {
    const wanted = (root: Kind, kind: 'eds' | 'rds') =>
      new Set([...(this.#has.get(root)?.values() ?? [])].flatMap(({ references }) => references[kind] ?? []));
    for (const [root, kind] of [
      ['cds', 'eds'],
      ['lds', 'rds'],
    ] as const) {
      const names = wanted(root, kind);
      const before = this.asked(kind);
      if (names.size !== before.size || !names.isSubsetOf(before)) this.#ask(kind, names);
    }
  }

  #accept({ kind, removed }: Answer, resources: readonly Resource[]): void {
    const has = this.#has.get(kind);
    if (this.#protocol === 'whole' && typeOfKind(kind).isRoot) has?.clear();
    for (const resource of resources) {
      if (typeOfKind(kind).isRoot || this.asked(kind).has(resource.name)) has?.set(resource.name, resource);
    }
    for (const name of removed) has?.delete(name);
  }

  /** No listener or route without its cluster, and no cluster gone while one is in use that refers to it. */
  #check({ kind, removed }: Answer, resources: readonly Resource[], isGood: boolean): void {
    for (const { name, references } of resources)
      for (const used of references.cds ?? [])
        expect(this.#clusters, `${name} refers to ${used}`).toContain(used);
    if (kind !== 'cds') return;
    const names = resources.map(({ name }) => name);
    if (isGood && this.#protocol === 'whole') this.#clusters = new Set(names);
    for (const name of names) this.#clusters.add(name);
    if (isGood) for (const name of removed) this.#clusters.delete(name);
    // A proxy of whole answers that comes back does not say which clusters it has.
    if (this.#protocol === 'whole' && this.#isBack) return;
    for (const { name, references } of [...this.#using('lds'), ...this.#using('rds')])
      for (const used of references.cds ?? []) expect(this.#clusters, `${name} uses ${used}`).toContain(used);
  }

  #using(kind: Kind): Iterable<Resource> {
    return this.#has.get(kind)?.values() ?? [];
  }

  #read(bytes: Uint8Array): Answer {
    if (this.#protocol === 'whole') {
      const { typeUrl, nonce, versionInfo, resources } = fromBinary(discovery.DiscoveryResponseSchema, bytes);
      const kind = kindOf(typeUrl);
      const found = resources.map(({ value }): [string, string] => {
        return [nameOf(kind, value), hash(value)];
      });
      expect(found.length).toBe(new Map(found).size);
      return { kind, nonce, version: versionInfo, resources: new Map(found), removed: [] };
    }
    const answer = fromBinary(discovery.DeltaDiscoveryResponseSchema, bytes);
    const kind = kindOf(answer.typeUrl);
    const found = answer.resources.map(({ name, version }): [string, string] => [name, version]);
    return {
      kind,
      nonce: answer.nonce,
      version: answer.systemVersionInfo,
      resources: new Map(found),
      removed: answer.removedResources,
    };
  }
}

interface Request {
  names: readonly string[];
  unsubscribe: readonly string[];
  version: string;
  refusal: string | undefined;
  known: ReadonlyMap<string, string>;
}

function kindOf(typeUrl: string): Kind {
  const type = typeOfUrl(typeUrl);
  if (type === undefined) throw new Error(`${typeUrl} is not served`);
  return type.kind;
}

/** A snapshot as the test draws it: which clusters there are, and which each listener and route leads to. */
const drawnSnapshot = fc.record({
  clusters: fc.array(fc.record({ tag: fc.constantFrom('', '1', 'bad') }), { minLength: 1, maxLength: 4 }),
  offset: fc.nat(3),
  listeners: fc.array(
    fc.record({ to: fc.nat(3), isHttp: fc.boolean(), tag: fc.constantFrom('', '1', 'bad') }),
    { maxLength: 3 },
  ),
  endpoints: fc.nat(2),
});
type Drawn = typeof drawnSnapshot extends fc.Arbitrary<infer T> ? T : never;

function resourcesOf({ clusters, offset, listeners, endpoints }: Drawn, allGood: boolean): Resource[] {
  const good = (tag: string) => (allGood && tag === 'bad' ? 'good' : tag);
  const names = clusters.map((_, i) => `c${(i + offset) % 5}`);
  const to = (at: number) => names[at % names.length] ?? '';
  return [
    ...clusters.map(({ tag }, i) => clusterOf(names[i] ?? '', good(tag))),
    ...names.map((name) => endpointsOf(name, endpoints)),
    ...listeners.flatMap(({ to: at, isHttp, tag }, i) =>
      isHttp
        ? [httpListenerOf(`l${i}`, `r${i}`, good(tag)), routesOf(`r${i}`, to(at), good(tag))]
        : [listenerOf(`l${i}`, to(at), good(tag))],
    ),
  ].map(remember);
}

const bad = new Set<string>();
function noteBad(resources: readonly Resource[], drawn: Drawn): void {
  const tags = new Map(drawn.listeners.map(({ tag }, i) => [i, tag]));
  for (const { type, name, version } of resources) {
    const at = Number(name.slice(1));
    const isBad =
      type.kind === 'cds'
        ? drawn.clusters[(at - drawn.offset + 5) % 5]?.tag === 'bad'
        : (type.kind === 'lds' || type.kind === 'rds') && tags.get(at) === 'bad';
    if (isBad) bad.add(keyOf(type.kind, name, version));
  }
}

const step = fc.oneof(
  { weight: 3, arbitrary: drawnSnapshot.map((drawn) => ({ do: 'snapshot' as const, drawn })) },
  { weight: 6, arbitrary: fc.nat(5).map((times) => ({ do: 'receive' as const, times })) },
  { weight: 1, arbitrary: fc.constant({ do: 'reconnect' as const }) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('eds' as const, 'rds' as const)
      .map((kind) => ({ do: 'resubscribe' as const, kind })),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'late' as const }) },
);

describe.each(['whole', 'delta'] as const)(
  'a proxy that is told of snapshots at any moment (%s)',
  (protocol) => {
    test('ends with what it asks for of the last one, and never has a listener without its clusters', () => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 40 }), drawnSnapshot, (steps, last) => {
          const proxy = new Proxy(protocol);
          let snapshot: Snapshot | undefined;
          let version = 0;
          const judge = ({ type, name, version }: Resource) => !bad.has(keyOf(type.kind, name, version));
          const give = (drawn: Drawn, allGood: boolean) => {
            const resources = resourcesOf(drawn, allGood);
            if (!allGood) noteBad(resources, drawn);
            snapshot = snapshotOf(++version, resources, { previous: snapshot });
            proxy.delivery.setSnapshot(snapshot);
            proxy.delivery.push();
            return snapshot;
          };
          proxy.connect(undefined);
          for (const each of steps) {
            if (each.do === 'snapshot') give(each.drawn, false);
            else if (each.do === 'reconnect') proxy.connect(snapshot);
            else if (each.do === 'resubscribe') proxy.resubscribe(each.kind);
            else if (each.do === 'late') {
              proxy.delivery.goAhead();
              proxy.delivery.push();
            } else for (let i = 0; i < each.times; i++) proxy.receive(judge);
          }
          const final = give(last, true);
          let answers = 0;
          while (proxy.receive(judge)) expect(answers++).toBeLessThan(50);
          for (const { kind, isRoot } of RESOURCE_TYPES) {
            const set = final.byType.get(kind);
            const asked = [...(set?.resources ?? [])].filter(
              ([name]) => isRoot || proxy.asked(kind).has(name),
            );
            const expected = new Map(asked.map(([name, { version }]) => [name, version]));
            expect([kind, proxy.state(kind)]).toEqual([kind, expected]);
          }
          expect(proxy.delivery.isConfirmed()).toBe(true);
        }),
        { numRuns: 400 },
      );
    });
  },
);

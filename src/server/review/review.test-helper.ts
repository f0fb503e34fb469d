import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Access,
  type AccessGraph,
  parseSpiffeId,
  principalText,
  type Workload,
} from '../../access/index.ts';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { DEFAULT_GATES, type OwnersFile } from '../../rollout/index.ts';
import { type IdentityStore, openIdentityStore, type SeenFlip } from '../../store/index.ts';
import { Rollouts } from '../enforcement/rollouts.ts';
import { Recorder } from '../identity/recorder.ts';
import { Reviews } from './reviews.ts';

export const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');

/** What the estate is said to be: replicas share it. */
export class FakeEstate {
  accesses: readonly Access[] = [];
  flips: readonly SeenFlip[] = [];
  marks: Readonly<Record<string, string>> = {};
  hours: readonly number[] = [];
  #graph: { of: readonly Access[]; graph: AccessGraph } | undefined;

  get current() {
    if (this.#graph?.of !== this.accesses) this.#graph = { of: this.accesses, graph: this.#make() };
    const byCallee = Map.groupBy(this.accesses, ({ to }) => principalText(to));
    return { version: 1, at: 0, graph: this.#graph.graph, byCallee };
  }

  withCoverage(): Promise<AccessGraph> {
    const graph = this.#make();
    const byWorkload = new Map([
      [cart, { events: 1, lost: 0, spans: [{ source: 'proxy', hours: this.hours }] }],
    ]);
    return Promise.resolve({ ...graph, coverage: { ...graph.coverage, byWorkload } });
  }

  #make(): AccessGraph {
    const workload: Workload = {
      id: cart,
      namespace: 'shop',
      name: 'cart',
      identifiedBy: 'spiffe',
      labels: {},
      marks: this.marks,
      ports: [],
      hostNetwork: false,
      inventoried: true,
      recorded: true,
    };
    return {
      trustDomain: 'example.org',
      workloads: new Map([[cart, workload]]),
      accesses: this.accesses,
      blindSpots: [],
      sharedAccounts: [],
      coverage: { firstSeen: 0, lastSeen: 1000, hours: [0], events: 1, lost: 0 },
    };
  }
}

/** One control plane, as far as reviews need it. */
export interface Replica {
  readonly reviews: Reviews;
  readonly rollouts: Rollouts;
  readonly store: IdentityStore;
  readonly faults: unknown[];
}

export interface ReplicaOptions {
  readonly estate: FakeEstate;
  readonly timers?: ManualTimers;
  readonly owners?: OwnersFile;
}

export async function replicaOn(store: IdentityStore, options: ReplicaOptions): Promise<Replica> {
  const { estate, timers = new ManualTimers(), owners } = options;
  const faults: unknown[] = [];
  const onFault = (error: unknown) => void faults.push(error);
  const recorder = new Recorder(store, timers);
  const rollouts = await Rollouts.open({ store, recorder, timers, onChange: () => {}, onFault });
  const evidence = { flips: () => estate.flips };
  const reviews = await Reviews.open({
    store,
    recorder,
    rollouts,
    estate,
    evidence,
    gates: DEFAULT_GATES,
    owners,
    timers,
    onFault,
  });
  return { reviews, rollouts, store, faults };
}

/** A directory with a store of its own; what is given back removes it. */
export async function newStore(): Promise<{
  dir: string;
  store: IdentityStore;
  remove: () => Promise<void>;
}> {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-review-'));
  const store = await openIdentityStore(dir, { create: true });
  return {
    dir,
    store,
    async remove() {
      await store.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

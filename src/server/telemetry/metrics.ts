import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from '@prometheus-io/client';
import { OUTCOMES } from '../../access/index.ts';
import { exceptionsEnding } from '../../policy/index.ts';
import type { ApiParts } from '../api/parts.ts';
import type { Recorder } from '../identity/recorder.ts';
import type { Notifier, Outcome } from '../notify/index.ts';

/** From half a millisecond to ten seconds: calls and commits. */
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** The parts of a control plane that are looked at when somebody asks. */
export type Measured = Pick<ApiParts, 'plane' | 'server' | 'enforcing' | 'events' | 'timers' | 'version'>;

/** What the program measures of itself, for Prometheus. Labels are of closed sets: none names a workload or a path. */
export class Metrics {
  readonly registry = new Registry();
  readonly http = new Histogram({
    name: 'interlock_http_request_duration_seconds',
    help: 'Calls of the HTTP port, by route and status.',
    labelNames: ['route', 'method', 'status'],
    buckets: SECONDS,
    registers: [this.registry],
  });
  readonly grpc = new Counter({
    name: 'interlock_grpc_calls_total',
    help: 'Calls of agents and proxies that have ended, by method and gRPC status code.',
    labelNames: ['method', 'code'],
    registers: [this.registry],
  });
  readonly store = new Histogram({
    name: 'interlock_store_operation_duration_seconds',
    help: 'How long the identity database took, by operation and whether it failed.',
    labelNames: ['operation', 'result'],
    buckets: SECONDS,
    registers: [this.registry],
  });
  readonly #signed = this.#counter('interlock_svids_signed_total', 'Credentials that were issued, by kind.', [
    'kind',
  ]);
  readonly #calls = this.#counter(
    'interlock_evidence_calls_total',
    'Calls that proxies reported and the store has kept, by outcome.',
    ['outcome'],
  );
  readonly #lost = this.#counter('interlock_evidence_lost_total', 'Events that are known to be lost.');
  readonly #flips = this.#counter(
    'interlock_flips_total',
    'Calls whose verdict the target set would change, by what it would be.',
    ['verdict'],
  );

  readonly #notifications = this.#counter(
    'interlock_notifications_total',
    'Notifications by channel and what became of them: sent, dropped, gave_up; failed counts attempts.',
    ['channel', 'outcome'],
  );

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  /** Counts what is signed from now on. */
  followSigned(recorder: Recorder): void {
    recorder.onCommit((changes) => {
      for (const each of changes) if (each.change === 'issue') this.#signed.inc({ kind: each.svid.kind });
    });
  }

  /** Counts what became of notifications. */
  readonly countNotifications = (channel: string, outcome: Outcome, count: number): void => {
    this.#notifications.inc({ channel, outcome }, count);
  };

  /** Shows what waits for each channel. */
  followNotifier(notifier: Pick<Notifier, 'waiting'>): void {
    this.#gauge(
      'interlock_notifications_waiting',
      'Notifications that this control plane has to deliver, by channel.',
      ['channel'],
      (gauge) => {
        gauge.reset();
        for (const [channel, count] of notifier.waiting()) gauge.set({ channel }, count);
      },
    );
  }

  /** Follows a control plane; the function given back ends that. */
  follow(parts: Measured): () => void {
    this.#gauges(parts);
    const { enforcing } = parts;
    const stops = [
      enforcing.evidence.onKept((tallies) => {
        for (const tally of tallies) {
          for (const n of tally.lost.values()) this.#lost.inc(n);
          for (const { evidence } of tally.accesses())
            for (const [key, n] of evidence.counts)
              this.#calls.inc({ outcome: OUTCOMES[key % OUTCOMES.length] ?? 'ok' }, n);
        }
      }),
      enforcing.evidence.onFlip(({ after, count }) =>
        this.#flips.inc({ verdict: after.allowed ? 'allow' : 'deny' }, count),
      ),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  }

  /** What is asked for at the moment somebody scrapes. */
  #gauges({ plane, server, enforcing, events, timers, version }: Measured): void {
    this.#gauge('interlock_build_info', 'The version that runs; always 1.', ['version'], (gauge) =>
      gauge.set({ version }, 1),
    );
    this.#gauge(
      'interlock_leader',
      '1 where this control plane does what is to be done once: at most one of a database does.',
      [],
      (gauge) => gauge.set(plane.leadership.isLeader ? 1 : 0),
    );
    this.#gauge(
      'interlock_replicas',
      'Control planes of this state, as this one sees them: ready, not ready, silent.',
      ['state'],
      async (gauge) => {
        const rows = await plane.replicas.list();
        for (const state of ['ready', 'not ready', 'silent']) gauge.set({ state }, 0);
        for (const { isSilent, isReady } of rows)
          gauge.inc({ state: isSilent ? 'silent' : isReady ? 'ready' : 'not ready' });
      },
    );
    this.#gauge('interlock_agents', 'Node agents, by whether they are connected.', ['state'], (gauge) => {
      const connected = server.service.connected().length;
      gauge.set({ state: 'connected' }, connected);
      gauge.set({ state: 'away' }, Math.max(0, plane.agents.list().length - connected));
    });
    this.#gauge(
      'interlock_strangers',
      'Connections at the port of agents that have not shown who they are: in the handshake, or without a certificate.',
      ['state'],
      (gauge) => {
        const { handshakes, strangers } = server.crowds;
        gauge.set({ state: 'handshake' }, handshakes.open);
        gauge.set({ state: 'no certificate' }, strangers.open);
      },
    );
    this.#tally(
      'interlock_strangers_refused_total',
      'Such connections that were turned away or cut off, because there were too many.',
      ['state'],
      (tally) => {
        const { handshakes, strangers } = server.crowds;
        tally.inc({ state: 'handshake' }, handshakes.refused);
        tally.inc({ state: 'no certificate' }, strangers.refused);
      },
    );
    this.#gauge(
      'interlock_proxies',
      'Enforcement points, by kind and state: in force, behind, refused, away.',
      ['kind', 'state'],
      (gauge) => {
        gauge.reset();
        for (const { kind, connected, fault, applied, wanted } of enforcing.own.all) {
          const current = fault !== undefined ? 'refused' : applied < wanted ? 'behind' : 'in force';
          gauge.inc({ kind, state: connected ? current : 'away' });
        }
      },
    );
    this.#gauge(
      'interlock_exceptions_ending',
      'Rules of target sets that end by themselves within a week.',
      [],
      (gauge) => {
        const now = timers.now();
        let ending = 0;
        for (const { target } of enforcing.rollouts.all.values())
          ending += exceptionsEnding(target, now).length;
        gauge.set(ending);
      },
    );
    this.#gauge('interlock_evidence_waiting', 'Entries of evidence that wait for the store.', [], (gauge) =>
      gauge.set(enforcing.evidence.waiting),
    );
    this.#gauge('interlock_evidence_stuck', '1 while the store takes no evidence.', [], (gauge) =>
      gauge.set(enforcing.evidence.fault === undefined ? 0 : 1),
    );
    this.#gauge('interlock_event_streams', 'Open streams of events.', [], (gauge) =>
      gauge.set(events.streams),
    );
    this.#gauge(
      'interlock_svids_live',
      'Credentials that are held and valid, by kind.',
      ['kind'],
      async (gauge) => {
        const counts = await plane.recorder.within(plane.store.liveCounts(timers.now()));
        gauge.reset();
        for (const { kind, count } of counts) gauge.inc({ kind }, count);
      },
    );
    this.#gauge(
      'interlock_authority_end_seconds',
      'When the signing authority ends, seconds since 1970.',
      [],
      (gauge) => {
        const active = plane.authorities.slots.filter(({ state }) => state === 'active');
        if (active.length > 0) gauge.set(Math.min(...active.map(({ notAfter }) => notAfter)) / 1000);
      },
    );
  }

  #counter<const Label extends string = never>(
    name: string,
    help: string,
    labelNames: readonly Label[] = [],
  ) {
    return new Counter<Label>({ name, help, labelNames: [...labelNames], registers: [this.registry] });
  }

  /** A counter that is kept elsewhere, and read when somebody scrapes. */
  #tally<const Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    collect: (tally: Counter<Label>) => void,
  ): void {
    const tally: Counter<Label> = new Counter<Label>({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.registry],
      collect() {
        tally.reset();
        collect(tally);
      },
    });
  }

  #gauge<const Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    collect: (gauge: Gauge<Label>) => void | Promise<void>,
  ): void {
    const gauge: Gauge<Label> = new Gauge<Label>({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.registry],
      async collect() {
        try {
          await collect(gauge);
        } catch {
          // A store that is away must not hide everything else: this one value is left out.
          gauge.reset();
        }
      },
    });
  }
}

import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { Events } from './api/events.ts';
import { listenLocal } from './api/listen.ts';
import type { ApiParts } from './api/parts.ts';
import { SyncOrigins } from './api/sync-origins.ts';
import { SealedVault } from './keys/sealed-vault.ts';
import { publishChanges } from './api/publish.ts';
import { startAgentServer } from './agents/server.ts';
import type { AgentEvent } from './agents/service.ts';
import type { ServerIdentity } from './agents/listener.ts';
import { type Endpoints, listenEndpoints } from './endpoints/listen.ts';
import { Enforcing } from './enforcement/enforcing.ts';
import { openEvidence } from './enforcement/evidence/open.ts';
import { addEnforcementServices } from './enforcement/services.ts';
import { Estate } from './estate/index.ts';
import { Federation } from './federation/federation.ts';
import { fewLines } from './few-lines.ts';
import { bundleFetcher } from './federation/fetch.ts';
import { Health, healthChecks } from './http/health.ts';
import { isLoopback } from './http/names.ts';
import { type HttpServing, serveHttp } from './http/serve.ts';
import { TrustedProxies } from './http/trusted-proxies.ts';
import { type ControlPlane, openControlPlane } from './identity/control-plane.ts';
import { Lifecycle } from './identity/lifecycle.ts';
import { serverId } from './identity/server-identity.ts';
import { returnMemory } from './memory.ts';
import { startNotifier } from './notify/index.ts';
import { type Place, placeOf } from './place.ts';
import { ByItself, Gatekeeper, noteMarks } from './promotion/index.ts';
import { SignInDesk } from './sign-in/desk.ts';
import { callInterceptor } from './telemetry/grpc.ts';
import { Metrics } from './telemetry/metrics.ts';
import { observedStore } from './telemetry/store.ts';
import { startTraces } from './telemetry/traces.ts';
import { History, Reviews, watchEvidence } from './review/index.ts';
import type { ParentAddress, ServeOptions, ServerLog, Serving } from './serve-options.ts';
import type { Timers } from './timers.ts';
import { readChildState } from './upstream/child-state.ts';
import { JoinedAuthorities } from './upstream/joined.ts';
import { joinParent } from './upstream/join-parent.ts';
import { Parent } from './upstream/parent.ts';

/** Serves the control plane of a state directory: agents, operators, the public endpoints. Throws `not_found`, `state`, `io`. */
export async function serveIdentity(options: ServeOptions): Promise<Serving> {
  const { state, timers, log } = options;
  const place = options.place ?? placeOf(state);
  const undo: (() => Promise<void> | void)[] = [];
  const onFault = (error: unknown) => log.error({ error }, 'a fault');
  try {
    const parent =
      options.parent === undefined ? undefined : await openParent(place, options, options.parent);
    // Measured where somebody can ask for what was measured.
    const metrics = options.http === undefined ? undefined : new Metrics();
    if (options.traces !== undefined) undo.push(await startTraces(options.traces, options.version, log));
    const plane = await openControlPlane({
      state: place,
      timers,
      attestors: options.attestors,
      superior: parent,
      ...(metrics && {
        store: observedStore(
          await place.openIdentity(),
          metrics,
          timers,
          place.isShared ? 'postgresql' : 'sqlite',
        ),
      }),
    });
    undo.push(() => plane.close());
    plane.onFault = onFault;
    plane.onWell = (message) => log.info({}, message);
    metrics?.followSigned(plane.recorder);
    for (const [rule, reason] of plane.loaded.unreadable)
      log.error({ rule, reason }, 'a rule cannot be read and gives nothing');
    await prepareIfNone(place, plane);
    let endpoints: Endpoints | undefined;
    let own: ServerIdentity | undefined;
    let http: HttpServing | undefined;
    let joined: JoinedAuthorities | undefined;
    const lifecycle = new Lifecycle({
      plane,
      timers,
      patience: options.patience,
      onWarning: (message) => log.warn({}, message),
      onFault,
    });
    // From here on what other control planes of the same state change holds here as well.
    await plane.join();
    undo.push(() => plane.leave());
    const isLeader = () => plane.leadership.isLeader;
    const enforcing = await Enforcing.open({
      state,
      plane,
      timers,
      openEvidence: (isCurrent, catchUp) =>
        openEvidence({
          state: place,
          trustDomain: plane.registry.domain.trustDomain,
          timers,
          isCurrent,
          catchUp,
          onFault,
        }),
      board: place.board,
      nodeProxies: options.nodeProxies,
      canary: options.canary,
      gates: options.gates,
      isLeader,
      onStep: (workload, step) => log.info({ workload, step }, 'a canary has moved'),
      onFault,
    });
    undo.push(() => enforcing.close(), returnMemory({ timers }));
    const estate = await Estate.open({
      store: place.openEvidence(),
      trustDomain: plane.registry.domain.trustDomain,
      evidence: enforcing.evidence,
      timers,
      onFault,
    });
    undo.push(() => estate.close());
    const events = new Events(timers);
    const reviews = await Reviews.open({
      store: plane.store,
      recorder: plane.recorder,
      rollouts: enforcing.rollouts,
      estate,
      evidence: enforcing.evidence,
      gates: enforcing.rules.gates,
      owners: options.owners,
      timers,
      onFault,
    });
    undo.push(() => reviews.close(), watchEvidence({ reviews, estate, enforcing, timers, onFault }));
    const gatekeeper = new Gatekeeper({ enforcing, plane, reviews, estate, timers });
    enforcing.canaries.decidedBy(reviews);
    enforcing.rollouts.markedBy((workload) => reviews.markOf(workload));
    const byItself = new ByItself({
      enforcing,
      gatekeeper,
      timers,
      isLeader,
      onMoved: (workload) =>
        log.info({ workload }, 'an experimental workload has begun its canary by itself'),
      onFault,
    });
    undo.push(() => byItself.stop());
    undo.push(noteMarks({ rollouts: enforcing.rollouts, reviews, timers, isLeader, onFault }));
    for (const [review, reason] of reviews.unreadable)
      log.error({ review, reason }, 'a review cannot be read: what was decided of it is not known');
    undo.push(() => events.close(), await publishChanges(events, { plane, enforcing, estate, reviews }));
    const proxies = new TrustedProxies(options.http?.trustedProxies);
    const server = await startAgentServer({
      plane,
      interceptors: metrics && [callInterceptor(metrics)],
      addServices(grpc, listener) {
        const onPointEvent = (event: string, who: string, error?: unknown) =>
          event === 'fault' || event === 'refused'
            ? log.warn({ proxy: who, error }, `a proxy was ${event === 'fault' ? 'failed' : 'refused'}`)
            : log.info({ proxy: who }, event === 'connected' ? 'a proxy has connected' : 'a proxy has left');
        undo.push(addEnforcementServices({ plane, enforcing, timers, onPointEvent }, grpc, listener));
      },
      timers,
      ...options.listen,
      onEvent: eventLog(timers, log),
      onRefused: fewLines(timers, (more, address: string, reason: string) =>
        log.warn({ address, reason, ...more }, 'a connection was refused'),
      ),
      onLeft: fewLines(timers, (more) =>
        log.info({ ...more }, 'somebody looked at the certificates and left'),
      ),
      // What ends HTTPS for many may pass TLS through for as many.
      isExempt: (address) => isLoopback(address) || proxies.isTrusted(address),
      onFault,
      onChange: () => {
        plane.agentsChanged();
        void lifecycle.look();
        parent?.confirmBelow();
        joined?.confirmBelow();
      },
      onIdentity(identity) {
        own = identity;
        http?.setIdentity(identity);
        if (options.endpoints?.identity === undefined) endpoints?.setIdentity(identity);
      },
    });
    undo.push(() => server.stop());
    const { registry, recorder, store, children } = plane;
    const federation = await Federation.open({
      registry,
      recorder,
      store,
      children,
      leadership: plane.leadership,
      following: plane.following,
      timers,
      fetchBundle: bundleFetcher({ timers, ca: options.federationCa }),
      onEvent: (peer, reason) => log.warn({ peer, reason }, 'the bundle of a peer cannot be fetched'),
      onFault,
    });
    plane.isPeer = (name) => federation.has(name);
    undo.push(() => federation.stop());
    const identity = options.endpoints?.identity ?? own;
    if (options.endpoints !== undefined && identity !== undefined) {
      endpoints = await listenEndpoints({
        ...options.endpoints,
        identity,
        bundle: () => registry.bundles.current.value.bundles.get(registry.domain.trustDomain),
        issuer: registry.domain.issuer,
      });
      const served = endpoints;
      undo.push(() => served.close());
    }
    parent?.start(plane);
    undo.push(() => parent?.stop());
    joined = await JoinedAuthorities.open({ plane, timers, log, version: options.version });
    const followed = joined;
    undo.push(() => followed.stop());
    await lifecycle.start();
    undo.push(() => lifecycle.stop());
    const desk =
      options.http === undefined
        ? undefined
        : await SignInDesk.open({ recorder, store, timers, onFault, isShared: place.isShared });
    undo.push(() => desk?.close());
    const notifier =
      options.notify &&
      (await startNotifier({
        config: options.notify,
        plane,
        enforcing,
        reviews,
        metrics,
        origin: () => http?.origin,
        timers,
        onFault,
      }));
    undo.push(() => notifier?.close());
    const syncOrigins = await SyncOrigins.open(plane.store, { timers, onFault });
    undo.push(() => syncOrigins.close());
    const api: ApiParts = {
      plane,
      timers,
      server,
      lifecycle,
      federation,
      enforcing,
      joined: followed,
      estate,
      events,
      reviews,
      gatekeeper,
      history: new History(plane.store),
      syncOrigins,
      notifier,
      signIn: desk,
      version: options.version,
      startedAt: timers.now(),
      onFault,
    };
    const local = await listenLocal(state, api, { checkAnswers: options.checkAnswers });
    undo.push(() => local.close());
    const health = new Health(healthChecks(api), timers);
    if (options.http !== undefined && desk !== undefined) {
      const onRefused = fewLines(timers, (more, address: string, reason: string) =>
        log.warn({ address, reason, ...more }, 'a sign-in was refused'),
      );
      const followed = metrics ?? new Metrics();
      undo.push(followed.follow(api));
      const parts = {
        api,
        desk,
        own,
        health,
        proxies,
        metrics: followed,
        onRefused,
        options: { checkAnswers: options.checkAnswers },
      };
      const serving = await serveHttp(options.http, parts);
      http = serving;
      undo.push(() => serving.close());
    }
    const { vault } = plane.keys;
    if (vault instanceof SealedVault) plane.replicas.holds(() => vault.ring.ids);
    plane.replicas.describe(
      {
        version: options.version,
        startedAt: api.startedAt,
        host: hostname(),
        addresses: {
          agents: hostPort(options.listen.host, server.port),
          ...(http === undefined ? {} : { http: http.origin }),
          ...(endpoints === undefined || options.endpoints === undefined
            ? {}
            : { endpoints: hostPort(options.endpoints.host, endpoints.port) }),
        },
      },
      () => health.look(),
    );
    undo.push(() => {
      health.stopping();
      plane.replicas.look();
    });
    // First of all at the end: a reader of events would keep the servers of the API from ending.
    undo.push(() => events.close());
    log.info(
      {
        trustDomain: registry.domain.trustDomain,
        id: serverId(registry.domain),
        host: options.listen.host,
        port: server.port,
        endpoints: endpoints?.port,
        http: http?.origin,
      },
      'the control plane serves',
    );
    return {
      port: server.port,
      endpointsPort: endpoints?.port,
      plane,
      enforcing,
      api,
      http,
      makeLink: desk === undefined ? undefined : () => desk.makeLinkFor('system'),
      close: () => undoAll(undo),
    };
  } catch (error) {
    await undoAll(undo);
    throw error;
  }
}

/** Of one that listens at every address of its machine, the name of that. */
function hostPort(host: string, port: number): string {
  const named = isIP(host) !== 0 && /^[0:.]+$/.test(host) ? hostname() : host;
  return `${named.includes(':') ? `[${named}]` : named}:${port}`;
}

/** Joins the parent where that was not done before, and gives what follows it. */
async function openParent(
  place: Place,
  { timers, log, version }: ServeOptions,
  { address, joinToken }: ParentAddress,
): Promise<Parent> {
  await place.exclusively(() => joinParent({ state: place, address, joinToken, who: 'system', timers, log }));
  const store = await place.openIdentity();
  try {
    const child = await readChildState(store);
    if (child === undefined) throw new TypeError('the state of the child was just written');
    const svid = { key: await (await place.vault(store)).get(child.keyId), chain: child.chain };
    return new Parent(child, svid, { address, timers, log, version });
  } finally {
    await store.close();
  }
}

/** A state that was set up, and no more than that, gets its first authority; of several control planes one makes it. */
async function prepareIfNone(place: Place, { registry, authorities }: ControlPlane): Promise<void> {
  if (registry.domain.root === 'offline' || authorities.slots.length > 0) return;
  await place.exclusively(async () => {
    await registry.follow();
    if (authorities.slots.length === 0) await authorities.prepare('system');
  });
}

/** In the order opposite to that of the start; what fails does not keep the rest from ending. */
async function undoAll(undo: (() => Promise<void> | void)[]): Promise<void> {
  for (const step of undo.splice(0).toReversed()) {
    try {
      await step();
    } catch {
      // What is closing has nothing more to say.
    }
  }
}

function eventLog(timers: Timers, log: ServerLog): (event: AgentEvent) => void {
  // Anybody can have a call refused.
  const refused = fewLines(timers, (more, who: string, error: unknown) =>
    log.warn({ who, error, ...more }, 'a call was refused'),
  );
  return ({ event, who, error }) => {
    switch (event) {
      case 'connected':
        return log.info({ agent: who }, 'an agent has connected');
      case 'disconnected':
        return log.info({ agent: who }, 'an agent has left');
      case 'refused':
        return refused(who, error);
      case 'fault':
        return log.error({ who, error }, 'a call failed');
    }
  };
}

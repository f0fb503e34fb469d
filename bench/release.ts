// The red button with a thousand connected proxies: from the call to the last confirmation; a change of policy over as many;
// and the memory of the control plane with 1,000 services, 2,000 proxies and 10,000 accesses. The control plane is a process
// of its own; the proxies' streams (mutual TLS, one connection each) are those of another, which confirms what it is sent and
// does nothing else with it: real ones do so on machines of their own.
import { type ChildProcess, fork } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { parseSpiffeId, type SpiffeId } from '../src/access/index.ts';
import { pathOf } from '../src/api/index.ts';
import { parseBundle, parseCertificate } from '../src/identity/index.ts';
import {
  AppliedSchema,
  type FromProxy,
  FromProxySchema,
  HelloSchema,
  type Report,
  ReportSchema,
} from '../src/proto/proxy/index.ts';
import { openControlStream } from '../src/proxy/index.ts';
import type { X509View } from '../src/workload/index.ts';
import { LightAgent } from '../test/identity/light-agent.ts';
import {
  ended,
  megabytes,
  percentile,
  percentiles,
  processorTime,
  scratch,
  sharedClock,
} from './identity-parts.ts';
import { type Plane, startProgramPlane, TRUST_DOMAIN } from './identity-plane.ts';
import { packaged } from './identity-program.ts';

type Print = (line: string) => void;

const SERVICES = Number(process.argv[2] ?? 1000);
const ACCESSES = 10;
const ROUNDS = Number(process.argv[3] ?? 20);
const RELEASE_GOAL_MS = 500;
const CHANGE_GOAL_MS = 1000;
const MEMORY_GOAL_MB = 500;
/** The service with as many proxies as there are services. */
const LARGE = 0;

type Message = Exclude<FromProxy['message'], { case: undefined }>;

/** What the process of proxies is to do. */
type ToProxies =
  /** Opens one proxy of each of these users' workloads, so many of each; each reports accesses once. */
  { readonly do: 'open'; readonly uids: readonly number[]; readonly each: number; readonly accesses: number };

/** Progress of a change, as the API tells it. */
interface Progress {
  readonly confirmed: readonly { readonly ms: number }[];
  readonly waiting: readonly object[];
}

/** Prints the percentiles. Throws where something is refused or does not come. */
export async function bench(report: Print): Promise<void> {
  const state = scratch();
  const plane = await startProgramPlane(
    packaged(join(state.dir, 'installed')),
    join(state.dir, 'state'),
    (process.env['PLANE_OPTIONS'] ?? '').split(' ').filter((word) => word !== ''),
  );
  const child = fork(new URL(import.meta.url), ['proxies', plane.address, await plane.token('bench')], {
    execArgv: [],
  });
  try {
    report(
      `${SERVICES} services; ${availableParallelism()} processors for the control plane and all streams`,
    );
    const rule = {
      apiVersion: 'interlock.dev/v1alpha1',
      kind: 'IdentityRule',
      metadata: { name: 'by-uid' },
      spec: { spiffeId: '/uid/{unix.uid}', when: 'true', ttl: '1h' },
    };
    await plane.call('POST', '/v1/rules', { rules: [rule] });
    const memory = { start: megabytes(plane.pid, 'VmRSS'), policies: 0, first: 0 };
    const uids = Array.from({ length: SERVICES }, (_, i) => i + 1);
    // As they come into being: service by service.
    for (const uid of [...uids, LARGE]) await plane.call('POST', '/v1/policies', { yaml: policyOf(uid, 0) });
    for (const uid of [...uids, LARGE])
      for (const move of [{ to: 'shadow' }, { to: 'canary', share: 1 }, { to: 'enforced' }])
        await plane.call('POST', pathOf('rollouts.move', { workload: idOf(uid) }), {
          ...move,
          anyway: 'a benchmark',
        });
    memory.policies = megabytes(plane.pid, 'VmRSS');
    const started = sharedClock();
    await tell(child, { do: 'open', uids, each: 1, accesses: ACCESSES });
    report(
      `${SERVICES} proxies connected, ${SERVICES * ACCESSES} accesses reported and kept in ${((sharedClock() - started) / 1000).toFixed(1)} s`,
    );
    memory.first = megabytes(plane.pid, 'VmRSS');
    await releases(plane, child, SERVICES, report);

    await tell(child, { do: 'open', uids: [LARGE], each: SERVICES, accesses: 0 });
    const times: number[] = [];
    for (let i = 1; i <= ROUNDS; i++) {
      const start = sharedClock();
      const { change } = await plane.call<{ change: string }>('POST', '/v1/policies', {
        yaml: policyOf(LARGE, i),
      });
      await confirmed(plane, change, SERVICES);
      times.push(sharedClock() - start);
    }
    report(
      `one policy of a service with ${SERVICES} proxies, ${ROUNDS} times, to the last confirmation:  ${percentiles(times)}  (goal: under ${CHANGE_GOAL_MS} ms)${verdict(percentile(times, 0.99) < CHANGE_GOAL_MS)}`,
    );
    await releases(plane, child, 2 * SERVICES, report);
    const most = megabytes(plane.pid, 'VmHWM');
    // It looks every 5 s whether there is memory to give back.
    await sleep(15_000);
    const now = megabytes(plane.pid, 'VmRSS');
    report(
      `control plane with ${SERVICES + 1} services, ${2 * SERVICES} proxies, ${SERVICES * ACCESSES} accesses: ${Math.round(now)} MB resident 15 s later  (goal: under ${MEMORY_GOAL_MB} MB)${verdict(now < MEMORY_GOAL_MB)}, at most ${Math.round(most)} MB while all were released and armed`,
    );
    report(
      `  resident at the start ${Math.round(memory.start)} MB, with the policies ${Math.round(memory.policies)} MB, with ${SERVICES} proxies ${Math.round(memory.first)} MB`,
    );
  } finally {
    await ended(child, 'SIGKILL');
    await plane.stop();
    state.remove();
  }
}

/** Releases everything and arms it, again and again. */
async function releases(plane: Plane, child: ChildProcess, proxies: number, report: Print): Promise<void> {
  const last: number[] = [];
  const each: number[] = [];
  const work = { plane: processorTime(plane.pid), proxies: processorTime(child.pid ?? 0) };
  // The first ones find code that has not run yet; they are no part of the result.
  for (let i = -2; i < ROUNDS; i++) {
    for (const [path, body] of [
      ['/v1/releases', { scope: { kind: 'all' }, reason: 'bench' }],
      ['/v1/releases/arm', {}],
    ] as const) {
      const start = sharedClock();
      const { change } = await plane.call<{ change: string }>('POST', path, body);
      const progress = await confirmed(plane, change, proxies);
      if (i < 0) continue;
      last.push(sharedClock() - start);
      each.push(...progress.confirmed.map(({ ms }) => ms));
    }
  }
  const rounds = 2 * (ROUNDS + 2);
  report(
    `release of everything and arm, ${proxies} proxies, ${2 * ROUNDS} times, from the call to the last confirmation:  ${percentiles(last)}  ${proxies === SERVICES ? `(goal: p99 under ${RELEASE_GOAL_MS} ms)${verdict(percentile(last, 0.99) < RELEASE_GOAL_MS)}` : '(the goal is for 1,000)'}`,
  );
  report(`  each proxy, as the control plane says it:  ${percentiles(each)}`);
  report(
    `  of the processor, each time: control plane ${Math.round((processorTime(plane.pid) - work.plane) / rounds)} ms, ${proxies} streams together ${Math.round((processorTime(child.pid ?? 0) - work.proxies) / rounds)} ms`,
  );
}

const verdict = (isMet: boolean) => (isMet ? '' : '  NOT MET');
const idOf = (uid: number): SpiffeId => parseSpiffeId(`spiffe://${TRUST_DOMAIN}/uid/${uid}`);

/** Ten rules, each for a caller of its own. */
function policyOf(uid: number, edition: number): string {
  const rules = Array.from(
    { length: ACCESSES },
    (_, i) =>
      `    - { name: caller-${i}, from: [{ workload: ${idOf(uid * ACCESSES + i + 1_000_000)} }], to: [{ http: { methods: [GET], paths: [/v1/things/${i}, /edition/${edition}] } }] }`,
  );
  return `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: uid-${uid} }
spec:
  protects: { workload: ${idOf(uid)} }
  tier: standard
  rules:
${rules.join('\n')}
`;
}

async function confirmed(plane: Plane, change: string, all: number): Promise<Progress> {
  const path = `/v1/changes/${change}?known=${all}&waitMs=30000`;
  const progress = await plane.call<Progress>('GET', path);
  if (progress.waiting.length > 0 || progress.confirmed.length !== all)
    throw new Error(
      `${progress.confirmed.length} of ${all} have confirmed, ${progress.waiting.length} have not`,
    );
  return progress;
}

function tell(child: ChildProcess, order: ToProxies): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  child.once('message', (answer) => {
    // The only words of the other side of this module.
    const { fault } = answer as { readonly fault?: string };
    if (fault === undefined) resolve();
    else reject(new Error(fault));
  });
  child.send(order);
  return promise;
}

/** The process full of proxies. */
async function proxies([address = '', token = '']: readonly string[]): Promise<void> {
  const agent = await LightAgent.attest({ address, token });
  await agent.start().connected();
  const state = await agent.until(() => agent.bundles, 'bundles');
  const bundles = new Map(
    state.bundles.map(({ trustDomain, jwks }) => [
      trustDomain,
      parseBundle(Buffer.from(jwks).toString(), trustDomain),
    ]),
  );
  process.on('message', (order) => {
    open(order as ToProxies).then(
      () => process.send?.({}),
      (error: unknown) => process.send?.({ fault: String(error) }),
    );
  });

  async function open({ uids, each, accesses }: ToProxies): Promise<void> {
    for (const uid of uids) {
      const view = await viewOf(uid);
      const batch: Promise<void>[] = [];
      for (let i = 0; i < each; i++) {
        batch.push(proxy(view, `${uid}-${i}`, accesses));
        if (batch.length === 50) await Promise.all(batch.splice(0));
      }
      await Promise.all(batch);
    }
  }

  /** An identity from the control plane, as an agent gets it for a workload. */
  async function viewOf(uid: number): Promise<X509View> {
    const { spiffeId, chain, key, notAfter } = await agent.sign(uid);
    const svid = {
      spiffeId,
      chain: chain.map(parseCertificate),
      key: createPrivateKey({ key, format: 'der', type: 'pkcs8' }),
      expiresAt: notAfter,
      hint: '',
    };
    return { state: { svid, svids: [svid], bundles, crls: [] }, onUpdate: () => () => {} };
  }

  /** Opens a proxy's stream; resolves when it has its first state, and its accesses are kept. */
  function proxy(source: X509View, instance: string, accesses: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const { spiffeId } = source.state.svid;
    const send = (message: Message) => stream.send(create(FromProxySchema, { message }));
    const stream = openControlStream(
      { address, server: parseSpiffeId(`spiffe://${TRUST_DOMAIN}/interlock/server`), source },
      {
        onDrain: () => {},
        onEnd: reject,
        onMessage: (message) => {
          if (message.case === 'taken') resolve();
          if (message.case !== 'state') return;
          const { version } = message.value;
          send({ case: 'applied', value: create(AppliedSchema, { stateVersion: version }) });
          if (accesses === 0) resolve();
          else if (!reported) send({ case: 'report', value: reportOf(spiffeId, accesses) });
          reported = true;
        },
      },
    );
    let reported = false;
    send({
      case: 'hello',
      value: create(HelloSchema, { version: 'bench', instance, workloads: [spiffeId] }),
    });
    return promise;
  }
}

/** Calls of as many callers as there are accesses. */
function reportOf(to: SpiffeId, accesses: number): Report {
  const now = BigInt(Date.now());
  return create(ReportSchema, {
    sequence: 1n,
    epoch: Buffer.from('bench'),
    accesses: Array.from({ length: accesses }, (_, i) => ({
      from: { spiffeId: `${to}/caller-${i}` },
      to,
      action: { kind: 'http', port: 8080, name: 'GET', text: `/v1/things/${i}` },
      hour: Number(now / 3_600_000n),
      ok: 100n,
      mutual: 100n,
      firstSeen: now,
      lastSeen: now,
      instance: '10.0.0.1',
      group: 'X25519MLKEM768',
    })),
  });
}

if (process.argv[2] === 'proxies') await proxies(process.argv.slice(3));
else if (import.meta.main) await bench(console.log);

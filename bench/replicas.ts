// Two control planes on one PostgreSQL, with its fsync: from a change at one to the proxy of the other one, to its confirmation back at
// the first, and to a reader of events (a console) of the other one. Both run in this process, each with its own connections,
// so that one clock measures all; the proxies are streams over mutual TLS.
import { readPolicies } from '../src/policy/index.ts';
import { UID_RULE, WHO } from '../src/server/testing.test-helper.ts';
import { hasPostgres, startServer } from '../src/store/postgres/server.test-helper.ts';
import { newKeyFile, SharedPlane } from '../test/replicas/planes.test-helper.ts';
import { EventsOf, identityAt, policyOf, Proxies, uid } from '../test/replicas/proxies.test-helper.ts';
import { percentile } from './identity-parts.ts';

const ROUNDS = Number(process.argv[2] ?? 200);
const GOAL_MS = 250;
const CART = uid(1);

if (!hasPostgres) process.exit(0);
const server = await startServer();
const url = server.url();
const keyFile = newKeyFile();
const [a, b] = await Promise.all([SharedPlane.start({ url, keyFile }), SharedPlane.start({ url, keyFile })]);
const proxies = new Proxies();
try {
  await a.apply(UID_RULE);
  const identity = await identityAt(a, 1);
  const proxy = proxies.connect(b, identity, { instance: 'b' });
  const { rollouts, releases, changes } = a.serving.enforcing;
  await rollouts.apply(WHO, readPolicies(policyOf(1, 2)));
  await rollouts.move(WHO, CART, 'shadow');
  await rollouts.move(WHO, CART, 'canary', { share: 1 });
  await proxy.until(({ state }) => state?.stage === 'canary');
  const console_ = new EventsOf(b);
  const took = { proxy: [] as number[], console: [] as number[], confirmed: [] as number[] };
  const release = { proxy: [] as number[], console: [] as number[], confirmed: [] as number[] };
  const measure = async (
    into: typeof took,
    act: () => Promise<{ readonly change: string }>,
    event: 'rollout' | 'release',
    holds: () => boolean,
  ) => {
    const begun = performance.now();
    const since = () => performance.now() - begun;
    const told = console_.next(event).then(() => into.console.push(since()));
    const there = proxy.until(holds).then(() => into.proxy.push(since()));
    const { change } = await act();
    while ((await changes.wait(change, 0, 10_000)).waiting.length > 0);
    into.confirmed.push(since());
    await Promise.all([told, there]);
  };
  for (let i = 0; i < ROUNDS; i++) {
    const stage = i % 2 === 0 ? 'strict' : 'permissive';
    await measure(
      took,
      () => a.serving.enforcing.following(() => rollouts.authenticate(WHO, CART, stage)),
      'rollout',
      () => proxy.state?.authentication === stage,
    );
    const isPressed = i % 2 === 0;
    await measure(
      release,
      () =>
        a.serving.enforcing.following(() =>
          isPressed ? releases.press(WHO, { scope: { kind: 'all' }, reason: 'x' }) : releases.arm(WHO),
        ),
      'release',
      () => (proxy.state?.released !== undefined) === isPressed,
    );
  }
  let isMet = true;
  for (const [what, times] of [
    ['a change', took],
    ['the red button', release],
  ] as const)
    for (const [where, all] of Object.entries(times)) {
      const [half, most] = [percentile(all, 0.5), percentile(all, 0.99)];
      isMet &&= most <= GOAL_MS;
      console.log(
        `${what} at one control plane, ${where} of the other one: p50 ${half.toFixed(0)} ms, p99 ${most.toFixed(0)} ms of ${all.length} (goal ${GOAL_MS})`,
      );
    }
  console_.close();
  process.exitCode = isMet ? 0 : 1;
} finally {
  proxies.close();
  await Promise.all([a.close(), b.close()]);
  await server.stop();
}
process.exit();

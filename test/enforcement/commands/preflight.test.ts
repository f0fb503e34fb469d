import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { accessAt, flipAt, reportOf } from '../../../src/server/enforcement/evidence/evidence.test-helper.ts';
import { PROMOTION_CHECKS } from '../../../src/rollout/index.ts';
import { CART, Commanded, confirmAll, POLICY } from './commanded.ts';

const at = Commanded.use();
const { run, json, file, proxy, known } = at;

describe('preflight', () => {
  const results = async (...args: string[]) => {
    const { code, value } = await json('preflight', ...args);
    const checks = value['checks'] as { name: string; passed: boolean }[];
    const failed = checks.filter(({ passed }) => !passed).map(({ name }) => name);
    return { code, ready: value['ready'], all: checks.map(({ name }) => name), failed };
  };
  /** Of a policy that was just applied, and that nobody has called yet. */
  const UNSEEN = ['surprises', 'calendar', 'blind-spots', 'doubts', 'events-lost', 'shadow'];

  test('lists every check, and fails each for its own reason', async () => {
    await run('policy', 'apply', file('p.yaml', POLICY('cart', '/a', 'standard')));
    const start = await results(CART);
    expect(start).toMatchObject({ code: 3, ready: false });
    expect(start.all).toEqual(PROMOTION_CHECKS);
    expect(start.failed).toEqual(['identities', 'proxies', ...UNSEEN, 'approvals', 'drill']);
    const one = await proxy('a', { now: BigInt(Date.now()) });
    expect((await results(CART)).failed).toEqual([...UNSEEN, 'approvals', 'drill']);
    confirmAll(one);
    await run('release', '--drill');
    expect((await results(CART)).failed).toEqual([...UNSEEN, 'approvals']);

    const two = await proxy('b', { now: BigInt(Date.now() - 60_000) });
    expect((await results(CART)).failed).toEqual(['clocks', ...UNSEEN, 'approvals']);
    two.close();
    await known('b', ({ connected }) => !connected);
    expect((await results(CART)).failed).toContain('proxies');
    vi.spyOn(at.plane.serving.plane.link, 'behind').mockReturnValue(['node-1']);
    expect((await results(CART)).failed).toContain('bundles');
    const { code, out } = await run('preflight', CART);
    expect(code).toBe(3);
    expect(out).toMatch(/Not ready: 10 checks not passed\.\n$/);
    expect(out.replaceAll(/\s+/g, ' ')).toContain('see why these agents do not confirm: node-1');
  });

  test('counts flips, callers in plain text, and what an Envoy would let pass', async () => {
    await run('policy', 'apply', file('p.yaml', POLICY('cart')));
    const one = await proxy('a');
    const now = Date.now();
    expect((await results(CART)).failed).toEqual(UNSEEN);
    const seen = { firstSeen: BigInt(now), lastSeen: BigInt(now) };
    const plain = { from: { address: '192.0.2.7' }, to: CART, port: 80, connections: 4n, ...seen };
    one.send({
      case: 'report',
      value: reportOf(1, {
        accesses: [accessAt(now, { to: CART, hour: Math.floor(now / 3_600_000) })],
        flips: [flipAt(now, { to: CART })],
        plaintext: [plain],
      }),
    });
    await one.next('taken');
    expect((await results(CART)).failed).toEqual(['plaintext', 'flips', 'surprises', 'calendar', 'shadow']);
    expect(await results('strict', CART)).toMatchObject({
      code: 3,
      all: ['identities', 'bundles', 'clocks', 'proxies', 'plaintext'],
      failed: ['plaintext'],
    });
    expect((await run('preflight', 'strict', CART)).out.replaceAll(/\s+/g, ' ')).toContain('192.0.2.7 (4)');
    // Refused from now on: nobody holds a promotion up by knocking in plain text.
    await run('authentication', CART, 'strict', '--wait', '1s');
    const refused = await results(CART);
    expect(refused.all).toContain('plaintext');
    expect(refused.failed).not.toContain('plaintext');

    const document = `
apiVersion: interlock.dev/v1alpha1
kind: Proxy
metadata: { name: cart }
spec:
  workload: ${CART}
  inbound: [{ listen: "0.0.0.0:8443", forward: "127.0.0.1:3306", protocol: tcp, serverFirst: true }]
`;
    expect(await run('envoy', 'apply', file('proxy.yaml', document))).toMatchObject({ code: 4 });
    expect((await results(CART)).failed).not.toContain('losses');
    at.plane.serving.enforcing.hub.attach(
      { kind: 'envoy', identity: CART, instance: 'e', workloads: [CART], version: '1.40' },
      0,
      { push: () => {} },
    );
    expect((await results(CART)).failed).toContain('losses');
    const { out } = await run('preflight', CART);
    expect(out.replaceAll(/\s+/g, ' ')).toMatch(/port 3306 speaks first/);
  });

  test('takes the evidence from the control plane: the state of another machine is not there to be read', async () => {
    await run('policy', 'apply', file('p.yaml', POLICY('cart')));
    const elsewhere = at.opened.dir();
    symlinkSync(join(at.plane.state, 'api.sock'), join(elsewhere, 'api.sock'));
    const evidence = async () => {
      const { value } = await json('preflight', CART, '--state', elsewhere);
      return (value['checks'] as { name: string; reason: string }[]).find(
        ({ name }) => name === 'events-lost',
      );
    };
    expect(await evidence()).toMatchObject({ reason: 'no evidence' });
    const one = await proxy('a');
    const now = Date.now();
    const seen = accessAt(now, { to: CART, hour: Math.floor(now / 3_600_000) });
    one.send({ case: 'report', value: reportOf(1, { accesses: [seen] }) });
    await one.next('taken');
    expect(await evidence()).toMatchObject({ reason: '0 %' });
  });

  test('is ready for strict where nobody calls in plain text; is misused without a workload', async () => {
    await proxy();
    expect(await run('preflight', 'strict', CART)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/Ready\.\n$/),
    });
    for (const args of [['strict'], [], [CART, CART]])
      expect(await run('preflight', ...args), args.join(' ')).toMatchObject({ code: 2, out: '' });
  });
});

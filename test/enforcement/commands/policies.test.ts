import { beforeEach, describe, expect, test, vi } from 'vitest';
import { CART, Commanded, confirmAll, POLICY, WEB } from './commanded.ts';

const at = Commanded.use();
const { run, json, promote, file, proxy, known } = at;

describe('policies', () => {
  test('are applied all or none, listed, and taken out of the target', async () => {
    expect((await run('policy', 'list')).out).toBe('No policy yet: interlock policy apply\n');
    const both = file('policies.yaml', `${POLICY('one')}---${POLICY('two', '/b')}`);
    expect(await run('policy', 'apply', both)).toEqual({
      code: 0,
      err: '',
      out: 'created    one\ncreated    two\n1 workload with a new target. "interlock policy list" shows stages.\n',
    });
    expect(await json('policy', 'apply', both)).toMatchObject({
      code: 0,
      value: { workloads: [], created: [], changed: [], unchanged: ['one', 'two'] },
    });
    const bad = file('bad.yaml', `${POLICY('one', '/c')}---\nkind: AccessPolicy`);
    expect(await run('policy', 'apply', bad)).toMatchObject({ code: 1, out: '' });
    expect(await json('policy', 'list')).toMatchObject({
      code: 0,
      value: {
        rollouts: [
          { workload: CART, tier: 'experimental', stage: 'draft', share: 0, target: ['one', 'two'] },
        ],
      },
    });
    const { out } = await run('policy', 'list');
    expect(out).toContain(CART);
    expect(out).toMatch(/draft +experimental +permissive +one, two/);
    expect(await run('policy', 'remove', CART, 'two')).toMatchObject({
      code: 0,
      out: `two is no longer in the target of ${CART}.\n`,
    });
    expect(await json('policy', 'remove', CART, 'one')).toMatchObject({
      code: 0,
      value: { rollout: { target: [] } },
    });
    const gone = await run('policy', 'remove', CART, 'one');
    expect(gone.code).toBe(1);
    expect(gone.err).toMatch(/has no\s+policy "one"/);
  });

  test('need a file, a directory with one, and a control plane', async () => {
    expect(await run('policy', 'apply', at.dir)).toMatchObject({
      code: 1,
      err: `interlock: there is no .yaml or .yml file in ${at.dir}\n`,
    });
    expect(await run('policy', 'apply')).toMatchObject({ code: 2 });
    await at.plane.stop();
    expect((await run('policy', 'list')).err).toMatch(
      /no control plane serves[^]*interlock\s+authority serve/,
    );
  });
});

describe('promote', () => {
  beforeEach(async () => {
    await run('policy', 'apply', file('p.yaml', POLICY('cart')));
  });

  test('goes step by step, and says who has confirmed', async () => {
    expect(await promote('shadow')).toEqual({
      code: 0,
      err: '',
      out: `${CART}: shadow, connections permissive.\nNo proxy is concerned now.\n`,
    });
    const one = await proxy();
    confirmAll(one);
    const { code, out } = await promote('canary', '--share', '50%');
    expect(code).toBe(0);
    expect(out).toMatch(
      /canary 50 %, connections permissive\.\n1 of 1 proxy confirmed, the last after \d+ ms\.\n/,
    );
    expect(await json('promote', CART, '--to', 'enforced', '--anyway', 'a test')).toMatchObject({
      code: 0,
      value: {
        rollout: { stage: 'enforced', share: 1, enforced: ['cart'] },
        progress: { confirmed: [{ key: `${CART}#a`, ms: expect.any(Number) }], waiting: [] },
      },
    });
    await run('policy', 'apply', file('p2.yaml', POLICY('cart', '/b')));
    expect((await run('policy', 'list')).out).toMatch(/shadow; older set[^]*enforced/);
  });

  test('exits 4 while a proxy is away, as release does, and with 0 once there is none', async () => {
    const away = await proxy('away');
    away.close();
    await known('away', ({ connected }) => !connected);
    const moved = await promote('shadow', '--wait', '1s');
    expect([moved.code, /#away\s+not connected/.test(moved.out)]).toEqual([4, true]);
    expect(await run('authentication', CART, 'strict', '--wait', '1s')).toMatchObject({ code: 4 });
    expect(await json('authentication', WEB, 'strict', '--wait', '1s')).toMatchObject({
      code: 0,
      value: { progress: { waiting: [] } },
    });
  });

  test('names proxies that have not confirmed: who is silent, who is away and gets it later, who refused it', async () => {
    const [silent, away, refusing] = [await proxy('silent'), await proxy('away'), await proxy('refusing')];
    away.close();
    await known('away', ({ connected }) => !connected);
    void refusing.next('state').then(({ version }) => refusing.apply(version, 'limit', 'too large'));
    const refused = known('refusing', ({ fault }) => fault !== undefined);
    const moved = promote('shadow', '--wait', '1s');
    await refused;
    const { code, out } = await moved;
    expect(code).toBe(4);
    expect(out).toMatch(/^0 of 3 proxies confirmed\.$/m);
    expect(out).toMatch(/#away\s+not connected/);
    expect(out).toMatch(/NOT CONFIRMED +WHY\n/);
    expect(out).toMatch(/#silent\s+has not answered yet/);
    expect(out).toMatch(/#refusing\s+refused it \(limit\): too large/);
    expect(out).toContain('They are told again until they confirm.');
    silent.close();
  });

  test('to canary or enforced is refused while checks fail, names them, and goes on only with a reason that is kept', async () => {
    expect((await run('promote', CART, '--to', 'shadow')).code).toBe(0);
    const order = ['promote', CART, '--to', 'canary', '--share', '50%'];
    const refused = await run(...order);
    expect([refused.code, refused.out]).toEqual([1, '']);
    const said = refused.err.replaceAll(/\s+/g, ' ');
    expect(said).toMatch(/identities FAILED 0 live give the workload an identity/);
    expect(said).toMatch(
      /stays in shadow: for canary \d checks are not passed \(identities, proxies, [^)]*shadow/,
    );
    expect(said).not.toMatch(/policy FAILED/);
    const { value } = await json(...order);
    expect(value).toMatchObject({ error: { code: 'conflict' } });
    const { checks } = value['error'] as { checks: { name: string; passed: boolean }[] };
    expect(checks.filter(({ passed }) => passed).map(({ name }) => name)).toContain('policy');
    expect(await run(...order, '--anyway', ' ')).toMatchObject({ code: 2 });
    expect((await run('policy', 'list')).out).toMatch(/shadow/);
    expect((await run(...order, '--anyway', 'nobody uses it yet')).code).toBe(0);
    const { entries } = await at.plane.api.get<{ entries: { act: string; details?: object }[] }>('/v1/audit');
    expect(entries.findLast(({ act }) => act === 'rollout.canary')?.details).toMatchObject({
      anyway: 'nobody uses it yet',
      missing: expect.arrayContaining(['identities', 'proxies', 'surprises', 'shadow']),
      checks: { policy: '1 policy', surprises: 'no evidence' },
    });
  });

  test('held, a workload says so, until somebody says otherwise or moves it', async () => {
    await promote('shadow');
    expect(await run('policy', 'hold', CART)).toMatchObject({ code: 2, out: '' });
    const held = await run('policy', 'hold', CART, '--why', 'a sale until Monday');
    expect(held.out.replaceAll(/\s+/g, ' ')).toContain(
      `${CART} stays in shadow, held until somebody moves it`,
    );
    expect((await run('policy', 'list')).out).toMatch(/shadow, held +experimental/);
    expect(await json('policy', 'hold', CART, '--end')).toMatchObject({
      code: 0,
      value: { rollout: { stage: 'shadow' } },
    });
    expect((await run('policy', 'list')).out).not.toContain('held');
    const { out } = await run('policy', 'history', CART);
    expect(out).toMatch(/rollout\.go-on\n[^]*rollout\.hold +why a sale until Monday\n/);
  });

  test('with checks that are not passed is refused to who is no approver: it says which, and by which role', async () => {
    await promote('shadow');
    vi.spyOn(at.plane.serving.api.gatekeeper, 'order').mockImplementation((mover, workload, wanted) =>
      Promise.resolve({
        ...wanted,
        guard: at.plane.serving.api.gatekeeper.guardOf(
          {
            workload,
            rollout: at.plane.serving.enforcing.rollouts.get(workload),
            readiness: undefined,
            svids: { live: 0, stale: 0 },
          },
          { ...mover, mayGoOn: false },
          wanted,
        ),
      }),
    );
    const { code, err } = await promote('canary', '--share', '50%');
    expect(code).toBe(1);
    const said = err.replaceAll(/\s+/g, ' ');
    expect(said).toMatch(/identities FAILED 0 live/);
    expect(said).toMatch(/may not move .* on though checks are not passed: it needs the role approver/);
  });

  test.each([
    [[], 'canary', ['--share', '10%'], /is in draft and cannot go to canary: move it to shadow\s+first/],
    [[], 'enforced', [], /is in draft and cannot go to enforced: move it to shadow\s+first/],
    [['shadow'], 'enforced', [], /is in shadow and cannot go to enforced: move it to canary\s+first/],
    [['shadow', 'canary'], 'draft', [], /is in canary and cannot go to draft: move it to shadow\s+first/],
    [
      ['shadow', 'canary', 'enforced'],
      'canary',
      ['--share', '10%'],
      /is in enforced and cannot go to\s+canary: move it to shadow\s+first/,
    ],
    [['shadow', 'canary', 'enforced'], 'enforced', [], /is already in enforced and cannot go to it\s+again/],
    [['shadow'], 'canary', [], /a canary needs a share of the proxies: more than 0 %, at most\s+100 %/],
    [['shadow'], 'canary', ['--share', '0'], /more than 0 %/],
  ])('after %j refuses %s, and says the step that comes first', async (before, to, more, says) => {
    for (const stage of before) await promote(stage, ...(stage === 'canary' ? ['--share', '1'] : []));
    const { code, err, out } = await promote(to, ...more);
    expect(out).toBe('');
    expect(err.replaceAll('\n', ' ')).toMatch(says);
    expect([1, 2]).toContain(code);
  });

  test('is misused without a stage, with another, with a share that is none, or for nobody', async () => {
    for (const args of [
      [CART],
      [CART, '--to', 'production'],
      [CART, '--to', 'canary', '--share', '200%'],
      ['--to', 'shadow'],
    ])
      expect(await run('promote', ...args), args.join(' ')).toMatchObject({ code: 2, out: '' });
    expect(await run('promote', 'cart', '--to', 'shadow')).toMatchObject({ code: 2, out: '' });
    const unknown = await run('promote', WEB, '--to', 'shadow');
    expect(unknown.code).toBe(1);
    expect(unknown.err.replaceAll(/\s+/g, ' ')).toMatch(/no policy protects .* apply one first/);
  });

  test('authentication changes how connections are taken', async () => {
    expect(await run('authentication', CART, 'strict')).toMatchObject({
      code: 0,
      out: `${CART}: draft, connections strict.\nNo proxy is concerned now.\n`,
    });
    expect(await json('authentication', WEB, 'plaintext')).toMatchObject({
      code: 0,
      value: { rollout: { authentication: 'plaintext' }, progress: { confirmed: [], waiting: [] } },
    });
    expect(await run('authentication', CART, 'none')).toMatchObject({
      code: 2,
      err: expect.stringContaining('a stage is one of plaintext, permissive, strict'),
    });
  });
});

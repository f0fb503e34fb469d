import { describe, expect, test } from 'vitest';
import { CART, Commanded, confirmAll, POLICY } from './commanded.ts';

const at = Commanded.use();
const { run, json, file, proxy, applied, known } = at;

describe('proxies', () => {
  test('are up to date, behind, refusing the newest, or away', async () => {
    expect(await run('proxies')).toMatchObject({
      code: 0,
      out: 'No proxy has connected.\n',
    });
    await proxy('good').then(confirmAll);
    await proxy('slow');
    const refusing = await proxy('refusing');
    (await proxy('gone')).close();
    await known('gone', ({ connected }) => !connected);
    await run('policy', 'apply', file('p.yaml', POLICY('cart')));
    const { version } = await refusing.next('state');
    refusing.apply(version, 'invalid_document', 'a rule cannot be read');
    await known('refusing', ({ fault }) => fault !== undefined);
    await applied('good', Number(version));
    const { code, out } = await run('proxies');
    expect(code).toBe(0);
    for (const [name, state] of [
      ['good', 'up to date'],
      ['slow', 'behind'],
      ['refusing', 'refused the newest'],
      ['gone', 'away'],
    ] as const)
      expect(out).toMatch(new RegExp(`#${name}\\s+proxy +${state} +1 +test`));
    expect(out).toMatch(
      /Kept their last good state\n[^]*#refusing\s+invalid_document +a rule cannot be read/,
    );
    expect(out).toContain('4 proxies, 3 connected.');
    const shown = await json('proxies');
    expect(shown.value['points']).toHaveLength(4);
  });
});

describe('release', () => {
  test.each([
    [['--all'], 'everything'],
    [['--cluster', 'eu-1'], 'cluster eu-1'],
    [['--namespace', 'shop'], 'namespace shop'],
    [['--workload', CART], CART],
    [['--policy', 'cart'], 'policy cart'],
  ])('%j: is told, listed, and armed', async (scope, text) => {
    confirmAll(await proxy());
    const { code, out } = await run('release', ...scope, '--reason', 'checkout fails', '--for', '2h');
    expect(code).toBe(0);
    const id = /rel-[0-9a-f]{12}/.exec(out)?.[0] ?? '';
    expect(out.replaceAll(/\s+/g, ' ')).toMatch(
      new RegExp(
        `^Released ${text}, until .*\\(in (1h 59m|2h)\\)\\. Undo: interlock arm ${id} 1 of 1 proxy confirmed, the last after \\d+ ms\\. CONFIRMED AFTER ${CART}#a \\d+ ms`,
      ),
    );
    const list = (await run('release', '--list')).out;
    expect(list.replaceAll(/\s+/g, ' ')).toMatch(new RegExp(`${id} ${text} in (1h 59m|2h) .*checkout fails`));
    expect(list).toContain('No drill yet: interlock release --drill');
    expect((await run('arm', id)).out).toMatch(/^Armed: [^]*\.\n1 of 1 proxy confirmed/);
    expect((await run('release', '--list')).out).toContain('Nothing is released.');
  });

  test('without --for lasts until it is armed; --all arms all, and twice does no harm', async () => {
    const first = await json('release', '--all', '--reason', 'x');
    expect(first).toMatchObject({
      code: 0,
      value: { release: { scope: { kind: 'all' }, reason: 'x' }, progress: { confirmed: [], waiting: [] } },
    });
    expect((await run('release', '--namespace', 'shop', '--reason', 'y')).out).toContain('until armed');
    expect((await run('release', '--list')).out).toMatch(/when armed/);
    expect((await json('release', '--list')).value['releases']).toHaveLength(2);
    expect((await run('arm', '--all')).out).toBe(
      'Armed: everything.\nArmed: namespace shop.\nNo proxy is concerned now.\n',
    );
    expect((await run('arm', '--all')).out).toContain('Nothing was released.');
  });

  test('exits 4 while a proxy has not confirmed, whether it is connected or away', async () => {
    const silent = await proxy('silent');
    const { code, out } = await run('release', '--all', '--reason', 'x', '--wait', '1s');
    expect([code, /#silent\s+has not answered yet/.test(out)]).toEqual([4, true]);
    silent.close();
    await known('silent', ({ connected }) => !connected);
    const armed = await run('arm', '--all', '--wait', '1s');
    expect([armed.code, /#silent\s+not connected/.test(armed.out)]).toEqual([4, true]);
  });

  test('a drill changes nothing, and is remembered', async () => {
    const one = await proxy();
    confirmAll(one);
    const { code, out } = await run('release', '--drill');
    expect(code).toBe(0);
    expect(out).toMatch(/Nothing\s+was\s+changed\.\n1 of 1 proxy confirmed/);
    expect((await run('release', '--list')).out).toMatch(/Last drill .* by .*: 1 of 1 confirmed\./);
    expect(await json('release', '--drill')).toMatchObject({ code: 0, value: { progress: { waiting: [] } } });
    const silent = await proxy('silent');
    expect(await run('release', '--drill', '--wait', '1s')).toMatchObject({ code: 4 });
    silent.close();
    await known('silent', ({ connected }) => !connected);
    const away = await run('release', '--drill', '--wait', '1s');
    expect([away.code, /#silent\s+not connected/.test(away.out)]).toEqual([0, true]);
  });

  test('waits no more for a proxy that is away and was forgotten; one that is connected cannot be', async () => {
    const gone = await proxy('gone');
    expect(await run('proxies', 'forget', `${CART}#gone`)).toMatchObject({ code: 1, out: '' });
    gone.close();
    await known('gone', ({ connected }) => !connected);
    expect(await run('release', '--all', '--reason', 'x', '--wait', '1s')).toMatchObject({ code: 4 });
    expect(await run('proxies', 'forget', `${CART}#gone`)).toMatchObject({
      code: 0,
      out: `Forgotten: ${CART}#gone\n`,
    });
    expect(await run('release', '--all', '--reason', 'x', '--wait', '1s')).toMatchObject({ code: 0 });
    expect((await run('proxies')).out).toBe('No proxy has connected.\n');
    expect(await run('proxies', 'forget', `${CART}#gone`)).toMatchObject({ code: 1 });
    expect(await run('proxies', 'forget')).toMatchObject({ code: 2 });
    expect((await run('authority', 'audit')).out).toContain('proxy.forget');
  });

  test('says where nothing was enforced: a name with a mistake in it', async () => {
    for (const scope of [
      ['--cluster', 'typo'],
      ['--namespace', 'typo'],
      ['--policy', 'typo'],
    ]) {
      expect((await run('release', ...scope, '--reason', 'x')).out).toContain('NOTHING WAS ENFORCED THERE');
      expect((await json('release', ...scope, '--reason', 'x')).value).toMatchObject({ nothingThere: true });
    }
    expect((await json('release', '--all', '--reason', 'x')).value).toMatchObject({ nothingThere: false });
  });

  test('is misused without a scope, with two, without a reason, or with a time that is none', async () => {
    const wrong: [string[], RegExp][] = [
      [
        ['--reason', 'x'],
        /say what to release with one of --all, --cluster, --namespace, --workload, --policy, --local/,
      ],
      [['--all', '--namespace', 'shop', '--reason', 'x'], /one of --all/],
      [['--all', '--drill'], /one of --all/],
      [['--all', '--list'], /one of --all/],
      [['--all'], /say why with --reason/],
      [['--all', '--reason', '  '], /say why with --reason/],
      [['--all', '--reason', 'x', '--for', 'soon'], /a duration is written like 30s/],
      [['--all', '--reason', 'x', '--for', '0s'], /at least 1s/],
      [['--workload', 'cart', '--reason', 'x'], /cart/],
      [['--local', '--all', '--reason', 'x'], /one of --all|only --workload narrows/],
    ];
    for (const [args, says] of wrong) {
      const { code, err, out } = await run('release', ...args);
      expect([code, out], args.join(' ')).toEqual([2, '']);
      expect(err.replaceAll(/\s+/g, ' '), args.join(' ')).toMatch(says);
    }
    expect((await run('release', '--list')).out).toContain('Nothing is released.');
    for (const args of [[], ['rel-1', '--all']]) expect(await run('arm', ...args)).toMatchObject({ code: 2 });
    const unknown = await run('arm', 'rel-000000000000');
    expect(unknown.err).toMatch(/no release rel-000000000000 is in force[^]*--list/);
    expect(unknown.code).toBe(1);
    const local = await run('release', '--local', '--reason', 'x');
    expect(local.code).toBe(1);
    expect(local.err.replaceAll(/\s+/g, ' ')).toContain('no proxy answers on');
  });
});

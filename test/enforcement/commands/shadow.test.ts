import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { main } from '../../../src/cli/cli.ts';
import { Terminal } from '../../../src/cli/terminal.ts';
import type { TestProxy } from '../../../src/server/enforcement/enforcement.test-helper.ts';
import { flipAt, reportOf } from '../../../src/server/enforcement/evidence/evidence.test-helper.ts';
import { CART, Commanded, POLICY, WEB } from './commanded.ts';

const at = Commanded.use();
const { run, json, file, proxy } = at;

describe('shadow', () => {
  const report = (made: TestProxy, sequence: number, flips: Parameters<typeof flipAt>[1][]) =>
    made.send({
      case: 'report',
      value: reportOf(sequence, { flips: flips.map((flip) => flipAt(Date.now(), { to: CART, ...flip })) }),
    });

  test('lists flips and refusals with caller, rule and count', async () => {
    await run('policy', 'apply', file('p.yaml', POLICY('cart')));
    expect(await run('shadow')).toEqual({
      code: 0,
      err: '',
      out: 'No flips. What is judged: interlock policy list\n',
    });
    const one = await proxy();
    const rule = { allowed: false, decidedBy: 'no-rule' };
    report(one, 1, [
      { count: 3n },
      {
        from: { address: '192.0.2.7' },
        before: { allowed: false, decidedBy: 'deny', policy: 'cart', rule: 'old' },
        after: { allowed: true, decidedBy: 'rule', policy: 'cart', rule: 'web' },
      },
      { action: { kind: 'tcp', port: 6379 }, before: rule, after: rule, refused: true },
    ]);
    await one.next('taken');
    const { code, out } = await run('shadow', '--to', CART);
    expect(code).toBe(3);
    const text = out.replaceAll(/\s+/g, ' ');
    expect(text).toContain('would be denied');
    expect(text).toMatch(/unauthenticated:192\.0\.2\.7 -> \S+cart would be allowed/);
    expect(text).toMatch(/cart REFUSED tcp :6379/);
    expect(text).toMatch(/allowed -> no rule/);
    expect(text).toMatch(/old -> web/);
    expect(out).toContain('2 flips, 1 refused already. Names are of trust domain example.org.');
    expect((await json('shadow')).value['flips']).toHaveLength(3);
    expect(await json('shadow', '--to', WEB)).toEqual({ code: 0, value: { flips: [] } });
  });

  /** A terminal whose lines, of both streams, can be waited for. */
  function followed() {
    const lines: string[] = [];
    let gone = false;
    let wake = () => {};
    const stream = () =>
      Object.assign(new Writable(), {
        write(text: string) {
          // A reader that has gone: it ends the command.
          if (gone) throw Object.assign(new Error('gone'), { code: 'EPIPE' });
          lines.push(text);
          wake();
          return true;
        },
      });
    const terminal = new Terminal(stream(), stream(), { NO_COLOR: '1' });
    const code = main(['shadow', '--follow', '--state', at.plane.state], { terminal, now: Date.now });
    return {
      code,
      lines,
      leave: () => void (gone = true),
      line: async (fits: RegExp): Promise<string> => {
        for (;;) {
          const found = lines.find((line) => fits.test(line));
          if (found !== undefined) return found;
          const { promise, resolve } = Promise.withResolvers<void>();
          wake = resolve;
          await promise;
        }
      },
    };
  }

  test('--follow prints what is there, then only what is new', async () => {
    const one = await proxy();
    report(one, 1, [{ count: 2n }]);
    await one.next('taken');
    const { line, lines, leave, code } = followed();
    expect(await line(/x2/)).toMatch(
      /^\d\d:\d\d:\d\d {2}would be denied {2}spiffe:\S+ -> \S+cart {2}\S.* allowed -> no rule\n$/,
    );
    report(one, 2, [{ count: 5n }]);
    await line(/x5/);
    expect(lines).toHaveLength(2);
    leave();
    report(one, 3, [{ count: 6n }]);
    expect(await code).toBe(0);
  });

  test('--follow says that the control plane is away, waits for it, and goes on without telling anything twice', async () => {
    const one = await proxy();
    report(one, 1, [{ count: 2n }]);
    await one.next('taken');
    const { line, lines, leave, code } = followed();
    await line(/x2/);
    await at.plane.stop();
    await line(/does not answer/);
    await at.plane.start();
    await line(/answers again/);
    const later = await proxy('b');
    report(later, 1, [{ count: 4n }]);
    await line(/x4/);
    expect(lines.map((text) => /x\d+|does not answer|answers again/.exec(text)?.[0] ?? text)).toEqual([
      'x2',
      'does not answer',
      'answers again',
      'x4',
    ]);
    leave();
    report(later, 2, [{ count: 6n }]);
    expect(await code).toBe(0);
  });

  test('--follow does not begin where no control plane answers', async () => {
    await at.plane.stop();
    expect(await run('shadow', '--follow')).toMatchObject({ code: 1, out: '' });
  });
});

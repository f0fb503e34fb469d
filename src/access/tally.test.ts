import { describe, expect, test } from 'vitest';
import { callsThatReached } from './evidence.ts';
import { isCollapsed, MAX_PATHS } from './path-limit.ts';
import { Tally } from './tally.ts';
import { MAX_STRANGER_ACCESSES } from './tally-access.ts';

const web = { namespace: 'shop', workload: 'web' };
const cart = { namespace: 'shop', workload: 'cart' };

describe('the tally', () => {
  test('memory is bounded: past the limit, paths are collapsed and no call is lost', () => {
    const tally = new Tally('envoy');
    const n = 2 * MAX_PATHS + 500;
    for (let i = 0; i < n; i++) {
      const word = String.fromCharCode(...[...String(i)].map((d) => 97 + Number(d)));
      const path = i % 2 === 0 ? `/orders/${i}` : `/words/${word}`;
      tally.access(web, cart, { kind: 'http', port: 80, method: 'GET', path }, 'callee').add(0, 'ok');
    }
    const accesses = [...tally.accesses()];
    expect(accesses.length).toBeLessThanOrEqual(2 * MAX_PATHS + 10);
    expect(accesses.reduce((sum, a) => sum + callsThatReached(a.evidence), 0)).toBe(n);
    const collapsed = accesses.flatMap(({ action }) =>
      action.kind === 'http' && isCollapsed(action.path) ? [action.path] : [],
    );
    expect(collapsed).toContain('/orders/{collapsed1}');
    expect(collapsed).toContain('/words/{collapsed=**}');
  });

  test('memory is bounded: callers of ever new addresses become one, and hide no caller that has a name', () => {
    const tally = new Tally('envoy');
    const action = { kind: 'http', port: 80, method: 'GET', path: '/' } as const;
    for (let i = 0; i < MAX_STRANGER_ACCESSES + 500; i++) {
      tally.access({ ip: `2001:db8::${i.toString(16)}` }, cart, action, 'callee').add(0, 'ok');
    }
    for (let i = 0; i < 500; i++) tally.access(web, { host: `h${i}.example` }, action, 'caller').add(0, 'ok');
    tally.access(web, cart, action, 'callee').add(0, 'ok');
    const accesses = [...tally.accesses()];
    expect(accesses).toHaveLength(MAX_STRANGER_ACCESSES + 3);
    expect([...tally.pairs()]).toHaveLength(MAX_STRANGER_ACCESSES + 3);
    expect(
      accesses.slice(-3).map(({ from, to, evidence }) => [from, to, callsThatReached(evidence)]),
    ).toEqual([
      [{ entity: 'unknown' }, cart, 500],
      [web, { entity: 'unknown' }, 500],
      [web, cart, 1],
    ]);
  });

  test('methods and services that a caller invents are bounded, too', () => {
    const tally = new Tally('envoy');
    const n = 4 * MAX_PATHS;
    for (let i = 0; i < n; i++) {
      const grpc = { kind: 'grpc', port: 80, service: `a.S${i}`, method: 'Get' } as const;
      const http = { kind: 'http', port: 81, method: `M${i}`, path: `/${i}` } as const;
      tally.access(web, cart, i % 2 === 0 ? grpc : http, 'callee').add(0, 'ok');
    }
    const accesses = [...tally.accesses()];
    expect(accesses.length).toBeLessThanOrEqual(4 * MAX_PATHS);
    expect(accesses.reduce((sum, a) => sum + callsThatReached(a.evidence), 0)).toBe(n);
    expect(accesses.filter(({ action }) => action.kind === 'grpc')).toHaveLength(MAX_PATHS);
    const groups = [...tally.pairs()].flatMap((pair) =>
      [...pair.counters()].map((group) => [...group].length),
    );
    expect(Math.min(...groups)).toBeGreaterThan(0);
    expect(groups.reduce((sum, size) => sum + size, 0)).toBe(accesses.length);
  });

  test('pods of one workload are one endpoint; their names are instances', () => {
    const tally = new Tally('hubble');
    for (const pod of ['a', 'b', 'c']) {
      tally.access({ ...web, pod }, cart, { kind: 'tcp', port: 80 }, 'callee').add(0, 'ok', pod);
    }
    const [access, ...more] = tally.accesses();
    expect(more).toEqual([]);
    expect(access?.from).toEqual(web);
    expect([...(access?.evidence.instances ?? [])]).toEqual(['a', 'b', 'c']);
  });

  test('what is skipped is counted by reason and shown once', () => {
    const tally = new Tally('envoy');
    tally.skip('not JSON', 3, 'x'.repeat(500));
    tally.skip('not JSON', 9, 'y');
    expect([...tally.skips()]).toEqual([
      { reason: 'not JSON', count: 2, firstLine: 3, sample: 'x'.repeat(160) },
    ]);
  });

  test('a late match takes a blind spot back', () => {
    const tally = new Tally('otlp');
    const spot = { kind: 'client-only', from: web, to: { host: 'redis' }, what: 'GET' } as const;
    tally.blindSpot(spot, 5);
    tally.blindSpot(spot, 3, -1);
    expect([...tally.blindSpots()]).toEqual([
      expect.objectContaining({ count: 0, firstSeen: 3, lastSeen: 5 }),
    ]);
  });
});

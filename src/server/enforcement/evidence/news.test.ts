import { expect, test } from 'vitest';
import { Tally } from '../../../access/index.ts';
import { cart, reporterOf, web } from './evidence.test-helper.ts';
import { newsOf, readNews, shownOf } from './news.ts';

test('news of a batch are the same after they were JSON, and those of another form are none', () => {
  const tally = new Tally('proxy');
  const action = { kind: 'http', port: 80, method: 'GET', path: '/a' } as const;
  tally.access({ spiffeId: web }, { spiffeId: cart }, action, 'callee').add(5_000, 'ok', 'pod', 3);
  tally.read = tally.accepted = 3;
  tally.cover(5_000);
  // Nothing was seen: its times are infinite, which JSON has not.
  const empty = new Tally('envoy');
  empty.lose('x', 2);
  const reported = {
    accesses: [
      {
        from: { kind: 'workload' as const, id: web },
        to: cart,
        action,
        outcomes: { ok: 3, error: 0, failed: 0, denied: 0 },
        mutual: 3,
        plaintext: 0,
        firstSeen: 5_000,
        lastSeen: 5_000,
        instance: 'pod',
      },
    ],
    lost: 1,
  };
  const mark = { reporter: `${cart}#a`, epoch: '01', sequence: 1 };
  const shown = [shownOf(reporterOf(), reported, [], mark)];
  const sightings = { flips: [], plaintext: [], unreached: [], handshakes: [] };
  const json: unknown = JSON.parse(JSON.stringify(newsOf({ ...sightings, shown, tallies: [tally, empty] })));
  const read = readNews(json as never);
  expect(read?.shown).toEqual(shown);
  expect(read?.shown[0]?.calls).toMatchObject([{ requests: 3, isGood: true }]);
  const [first, second] = read?.tallies ?? [];
  expect([...(first?.accesses() ?? [])]).toEqual([...tally.accesses()]);
  expect([first?.accepted, first?.firstSeen, second?.firstSeen, [...(second?.lost ?? [])]]).toEqual([
    3,
    5_000,
    Number.POSITIVE_INFINITY,
    [['x', 2]],
  ]);
  expect(readNews({ v: 2 })).toBeUndefined();
});

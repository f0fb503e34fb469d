import { describe, expect, test } from 'vitest';
import { HARD } from '../../../bench/templates/routes.ts';
import { routesOfGroup, score, total } from '../../../bench/templates/score.ts';
import {
  haveTrainTicket,
  NO_TRAIN_TICKET,
  scaled,
  trainTicketRoutes,
} from '../../../bench/templates/train-ticket.ts';

if (!haveTrainTicket) console.log(NO_TRAIN_TICKET);

describe('routes learned back from raw paths', () => {
  test.skipIf(!haveTrainTicket)(
    'are all of the train-ticket routes and no other, at a quarter of the calls',
    () => {
      for (const seed of [1, 2]) {
        const scores = [...trainTicketRoutes().values()].map((routes) => score(scaled(routes, 0.25), seed));
        const { routes, learned, right, wrongMerges } = total(scores);
        expect({ learned, right, wrongMerges }).toEqual({ learned: routes, right: routes, wrongMerges: [] });
        expect(routes).toBe(48);
      }
    },
  );

  test.each(Object.keys(HARD).filter((group) => !['object store', 'cluster'].includes(group)))(
    'are all of the group "%s" at 100 paths a route',
    (group) => {
      const { missed, extra, wrongMerges } = score(routesOfGroup(HARD[group] ?? [], 100, 1), 1);
      expect({ missed, extra, wrongMerges }).toEqual({ missed: [], extra: [], wrongMerges: [] });
    },
  );

  test('are never two routes in one template', () => {
    const scores = [5, 20, 100].flatMap((calls) =>
      [1, 2, 3].flatMap((seed) =>
        Object.values(HARD).map((group) => score(routesOfGroup(group, calls, seed), seed)),
      ),
    );
    expect(total(scores).wrongMerges).toEqual([]);
  });
});

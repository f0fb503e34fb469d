import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { matchTemplate, parseTemplate } from '../../policy/index.ts';
import { learnTemplates, type PathObservation } from './learn.ts';

const seen = (from: string, paths: readonly string[], count = 3): PathObservation[] =>
  paths.map((path) => ({ path, from, count }));

const learn = (...parts: readonly PathObservation[][]): readonly string[] =>
  learnTemplates(parts.flat()).templates;

const IDS = ['17', '18', '2041'];
const UUIDS = [
  '6d61e8f5-5f4b-4cc5-b3b1-0e2f7f0a3b11',
  '0b8f6f0e-57a4-4f8c-9f4d-5a8f1f2c3d44',
  'c7b1a9d2-1f3e-4a5b-8c6d-7e8f9a0b1c2d',
];
const NAMES = 'shanghai nan%20jing suzhou wuxi zhenjiang taiyuan xuzhou jinan hangzhou jiaxingnan'.split(' ');
const TRAINS = ['GaoTieOne', 'GaoTieTwo', 'DongCheOne', 'ZhiDa', 'TeKuai', 'KuaiSu'];

describe('path templates', () => {
  test.each([
    ['a value by its shape', ['/order/17', '/order/18'], ['/order/{orderId}']],
    ['one value is enough where it has a shape', [`/order/${UUIDS[0]}`], ['/order/{orderId}']],
    ['values of several shapes are one parameter', ['/o/17', `/o/${UUIDS[1]}`], ['/o/{oId}']],
    [
      'versions of an API are literals',
      ['/v1/a', '/v2/a', '/v3/a', '/v4/a'],
      ['/v1/a', '/v2/a', '/v3/a', '/v4/a'],
    ],
    [
      'a trailing slash is kept',
      ['/byIds/', '/byIds', '/o/7/', '/'],
      ['/', '/byIds', '/byIds/', '/o/{oId}/'],
    ],
    ['the first segment may be a value', ['/17', '/18/items'], ['/{id}', '/{id}/items']],
    ['escapes are kept as they are', ['/s/nan%20jing'], ['/s/nan%20jing']],
    ['a file name is a whole segment', ['/img/17.png', '/img/ab12cd34ef.jpg'], ['/img/{file}']],
    ['names in a prototype are words', ['/__proto__/constructor'], ['/__proto__/constructor']],
    ['what is no path is left alone', ['*', '/a'], ['*', '/a']],
    ['names are unique in a template', ['/a/1/2/3'], ['/a/{aId}/{id}/{id2}']],
  ])('%s', (_, paths, templates) => {
    expect(learn(seen('a', paths))).toEqual(templates);
  });

  test('a date through which everything goes is the version of an API', () => {
    expect(learn(seen('a', ['/2015-03-31/functions/7', '/2015-03-31/tags']))).toEqual([
      '/2015-03-31/functions/{functionId}',
      '/2015-03-31/tags',
    ]);
    expect(learn(seen('a', ['/api/2024/users', '/api/2024/orders'], 50))).toEqual([
      '/api/2024/orders',
      '/api/2024/users',
    ]);
    expect(learn(seen('a', ['/reports/2023/pdf', '/reports/2024/pdf'], 50))).toEqual([
      '/reports/{reportId}/pdf',
    ]);
  });

  test('literal routes beside a value stay routes', () => {
    const paths = [
      ...IDS.map((id) => `/order/${id}`),
      '/order/refresh',
      '/order/status/17',
      '/order/status/18/2',
    ];
    expect(learn(seen('a', paths))).toEqual(
      [
        '/order/refresh',
        '/order/status/{statusId}',
        '/order/status/{statusId}/{id}',
        '/order/{orderId}',
      ].sort(),
    );
    expect(learn(seen('a', ['/users/me', '/users/17', '/users/me/keys', '/users/18/keys']))).toEqual([
      '/users/me',
      '/users/me/keys',
      '/users/{userId}',
      '/users/{userId}/keys',
    ]);
  });

  test('names are values where there are many, also beside routes', () => {
    const paths = [...NAMES.map((n) => `/stations/${n}`), '/stations/list', '/stations/search'];
    expect(learn(seen('a', paths))).toEqual(['/stations/list', '/stations/search', '/stations/{station}']);
    expect(
      learn(
        seen(
          'a',
          TRAINS.map((t) => `/trains/byName/${t}`),
        ),
      ),
    ).toEqual(['/trains/byName/{name}']);
    expect(
      learn(
        seen(
          'a',
          TRAINS.map((t) => `/prices/${UUIDS[0]}/${t}`),
        ),
      ),
    ).toEqual(['/prices/{priceId}/{name}']);
  });

  test('values may follow each other', () => {
    const paths = NAMES.flatMap((a, i) =>
      [1, 2, 3].map((d) => `/foods/2023-01-0${d}/${a}/${NAMES[(i + d) % 10]}/G12${i}${d}`),
    );
    expect(learn(seen('a', paths))).toEqual(['/foods/{date}/{name}/{name2}/{id}']);
  });

  test('few names stay literals', () => {
    expect(learn(seen('a', ['/pay/alipay', '/pay/klarna']))).toEqual(['/pay/alipay', '/pay/klarna']);
  });

  test('routes in a language that the vocabulary does not know are no values', () => {
    const words =
      'kunde bestellung rechnung lager versand artikel mahnung konto preis steuer vertrag filiale'.split(' ');
    for (const prefix of ['', '/api/v1', '/laden', '/filiale/17']) {
      const paths = words.map((word) => `${prefix}/${word}`);
      expect(learn(seen('a', paths, 40))).toHaveLength(words.length);
    }
  });

  test('methods of a remote procedure call are no values', () => {
    const methods = ['MakeHat', 'PaintHat', 'FoldHat', 'BoxHat', 'ShipHat', 'WearHat', 'TearHat', 'MendHat'];
    const paths = methods.map((m) => `/twirp/hats.Haberdasher/${m}`);
    expect(learn(seen('a', paths))).toEqual(paths.toSorted());
  });

  test('a name with continuations of its own is no value', () => {
    const paths = [...NAMES.map((n) => `/stations/${n}`), '/stations/kiosk', '/stations/kiosk/till'];
    expect(learn(seen('a', paths))).toEqual([
      '/stations/kiosk',
      '/stations/kiosk/till',
      '/stations/{station}',
    ]);
  });

  test('a value keeps what only it leads on to, where it shares the rest', () => {
    const paths = [...NAMES.flatMap((n) => [`/u/${n}`, `/u/${n}/badges`]), '/u/wuxi/till'];
    expect(learn(seen('a', paths))).toEqual(['/u/wuxi/till', '/u/{u}', '/u/{u}/badges']);
    expect(learnTemplates(seen('a', paths)).templateOf('/u/wuxi/badges')).toBe('/u/{u}/badges');
  });

  test('names with callers of their own are not taken for values by a second look', () => {
    const path = (train: string): string => `/trains/byName/${train}`;
    const all = seen('a', TRAINS.map(path), 20);
    const own = [...seen('b', [path('TeKuai')], 20), ...seen('c', [path('KuaiSu')], 20)];
    expect(learn(all, own)).toEqual([path('KuaiSu'), path('TeKuai'), path('{name}')]);
  });

  test('a name with callers of its own is no value', () => {
    const others = seen(
      'a',
      NAMES.map((n) => `/stations/${n}`),
      20,
    );
    const own = seen('depot', ['/stations/wuxi'], 20);
    expect(learn(others, own)).toEqual(['/stations/wuxi', '/stations/{station}']);
    expect(
      learn(
        others,
        seen(
          'depot',
          NAMES.slice(3, 7).map((n) => `/stations/${n}`),
          20,
        ),
      ),
    ).toEqual(['/stations/{station}']);
  });
});

describe('templates that are known', () => {
  test('observed ones are kept, and raw paths that match join them', () => {
    const known = seen('a', ['/order/{orderId}', '/trains/byName/{trainName}']);
    const raw = seen('a', ['/order/17', '/order/refresh', '/trains/byName/ZhiDa']);
    const { templates, templateOf } = learnTemplates([...raw, ...known]);
    expect(templates).toEqual(['/order/refresh', '/order/{orderId}', '/trains/byName/{trainName}']);
    expect(templateOf('/order/99')).toBe('/order/{orderId}');
  });

  test('a name that only another caller uses does not join', () => {
    const known = seen('a', ['/trains/byName/{trainName}']);
    expect(learn(known, seen('b', ['/trains/byName/ZhiDa']))).toEqual([
      '/trains/byName/ZhiDa',
      '/trains/byName/{trainName}',
    ]);
  });

  test('those of an OpenAPI document win over what is learned and over observed names', () => {
    const given = ['/order/{id}', '/order/{id}/refresh', '/users/me', '/users/{login}'];
    const { templates, templateOf } = learnTemplates(
      seen('a', ['/order/{orderId}', '/users/me', '/users/alice', '/order/x9/refresh', '/other/17']),
      { given },
    );
    expect(templates).toEqual([
      '/order/{id}',
      '/order/{id}/refresh',
      '/other/{otherId}',
      '/users/me',
      '/users/{login}',
    ]);
    expect(templateOf('/users/bob')).toBe('/users/{login}');
  });

  test('paths that were stored collapsed are learned as what is left of them', () => {
    const { templates, approximate, templateOf } = learnTemplates(
      seen('a', ['/order/{collapsed1}/items', '/order/17/items', '/x/{collapsed=**}']),
    );
    expect(templates).toEqual(['/order/{orderId}/items', '/x/{rest=**}']);
    expect(approximate).toBe(true);
    expect(templateOf('/x/{collapsed=**}')).toBe('/x/{rest=**}');
  });
});

describe('limits', () => {
  test('beyond the number of templates the smallest subtree that is enough is collapsed', () => {
    const words = 'orders items carts users roles teams keys rules'.split(' ');
    const paths = words.flatMap((a) => words.map((b) => `/a/b/${a}-${b}`));
    const { templates, approximate } = learnTemplates(seen('x', [...paths, '/a/b', '/a/c', '/d']), {
      most: 20,
    });
    expect(templates).toEqual(['/a/b', '/a/b/{rest=**}', '/a/c', '/d']);
    expect(approximate).toBe(true);
  });

  test('of two subtrees that are enough the smaller is collapsed', () => {
    const words = 'orders items carts users roles teams keys rules'.split(' ');
    const large = words.flatMap((a) => words.map((b) => `/a/${a}-${b}`));
    const small = words.flatMap((a) => words.slice(0, 4).map((b) => `/b/${a}-${b}`));
    const { templates } = learnTemplates(seen('x', [...large, ...small]), { most: 90 });
    expect(templates).toEqual([...large.toSorted(), '/b/{rest=**}']);
  });

  test('a path has at most 64 segments that are told apart', () => {
    const path = `/${Array.from({ length: 5000 }, () => 'deep').join('/')}`;
    const { templates, templateOf } = learnTemplates(seen('x', [path]));
    expect(templates).toHaveLength(1);
    expect(templates[0]?.split('/')).toHaveLength(65);
    expect(templateOf(path)).toBe(templates[0]);
  });
});

const segment = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom('order', 'status', 'users', 'me', 'items', 'byName', 'v1', 'api', '', 'edit'),
  },
  { weight: 2, arbitrary: fc.constantFrom(...NAMES, ...TRAINS) },
  { weight: 2, arbitrary: fc.constantFrom(...IDS, ...UUIDS, '2023-01-29', 'a%40b.org', '2024') },
  { weight: 1, arbitrary: fc.stringMatching(/^[a-z0-9][a-z0-9.~-]{0,7}$/) },
);
const path = fc.oneof(
  { weight: 9, arbitrary: fc.array(segment, { minLength: 1, maxLength: 5 }).map((s) => `/${s.join('/')}`) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '/order/{id}',
      '/users/{login}/items',
      '/order/{x}/{y}',
      '/api/{rest=**}',
      '/api/{all=**}',
    ),
  },
);
const observations = fc.array(
  fc.record({ path, from: fc.constantFrom('a', 'b', 'c'), count: fc.integer({ min: 1, max: 30 }) }),
  { maxLength: 60 },
);

function covers(template: string, path: string): boolean {
  if (template === path) return true;
  const parsed = parseTemplate(template);
  return parsed.ok && matchTemplate(parsed.template, path);
}

describe('whatever was observed', () => {
  test('templates do not depend on the order of the observations', () => {
    fc.assert(
      fc.property(observations, fc.infiniteStream(fc.nat()), (list, keys) => {
        const shuffled = list
          .map((o) => [keys.next().value, o] as const)
          .toSorted(([a], [b]) => a - b)
          .map(([, o]) => o);
        expect(learnTemplates(shuffled).templates).toEqual(learnTemplates(list).templates);
      }),
      { numRuns: 300 },
    );
  });

  test('every observed path has a template of the set that matches it, and every template a path', () => {
    fc.assert(
      fc.property(observations, (list) => {
        const { templates, templateOf } = learnTemplates(list);
        const used = new Set<string>();
        for (const { path } of list) {
          const template = templateOf(path);
          used.add(template);
          expect(templates).toContain(template);
          if (!path.includes('//')) expect(covers(template, path)).toBe(true);
        }
        expect([...used].toSorted()).toEqual(templates);
      }),
      { numRuns: 300 },
    );
  });

  test('a sibling with a continuation or a caller of its own is never merged', () => {
    const names = fc.uniqueArray(fc.stringMatching(/^[b-d][a-z]{4,9}$/), { minLength: 3, maxLength: 40 });
    const sibling = fc.stringMatching(/^[e-g][a-z]{3,9}$/);
    const how = fc.constantFrom('continuation', 'caller', 'both');
    let merged = 0;
    fc.assert(
      fc.property(names, sibling, how, fc.integer({ min: 4, max: 50 }), (values, name, how, calls) => {
        const list = seen(
          'a',
          values.map((v) => `/stations/${v}`),
          calls,
        );
        if (how !== 'caller') list.push(...seen('a', [`/stations/${name}/kiosk`, `/stations/${name}`], 1));
        if (how !== 'continuation') list.push(...seen('depot', [`/stations/${name}`], 8));
        const { templates, templateOf } = learnTemplates(list);
        expect(templateOf(`/stations/${name}`)).toBe(`/stations/${name}`);
        if (how !== 'caller') expect(templateOf(`/stations/${name}/kiosk`)).toBe(`/stations/${name}/kiosk`);
        if (templates.some((t) => t.includes('{'))) merged++;
      }),
      { numRuns: 300 },
    );
    expect(merged).toBeGreaterThan(50);
  });
});

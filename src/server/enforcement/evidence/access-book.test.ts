import { describe, expect, test } from 'vitest';
import { type Action, isCollapsed } from '../../../access/index.ts';
import { AccessBook } from './access-book.ts';
import { cart, web } from './evidence.test-helper.ts';

const from = { kind: 'workload', id: web } as const;
const stranger = (n: number) => ({ kind: 'unauthenticated', from: `10.0.${n >> 8}.${n & 255}` }) as const;
const get = (path: string, port = 80): Action => ({ kind: 'http', port, method: 'GET', path });
const grpc: Action = { kind: 'grpc', port: 80, service: 'shop.Cart', method: 'Add' };

describe('an access is known', () => {
  test('where it went well: exactly it, from the state or live', () => {
    const book = new AccessBook([
      { to: cart, from: web, good: ['http 80 GET /a', 'tcp 6379'], others: ['http 80 GET /b'] },
    ]);
    book.note(from, cart, grpc, true);
    book.note(from, cart, get('/c'), false);
    const asked: Action[] = [
      get('/a'),
      { kind: 'tcp', port: 6379 },
      grpc,
      get('/b'),
      get('/c'),
      get('/a', 81),
      { ...grpc, method: 'Drop' },
    ];
    expect(asked.map((action) => book.has(from, cart, action))).toEqual([
      true,
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
    expect(book.has(stranger(1), cart, get('/a'))).toBe(false);
    expect(book.has(from, web, get('/a'))).toBe(false);
    book.note(from, cart, get('/c'), true);
    expect(book.has(from, cart, get('/c'))).toBe(true);
  });

  test('where one of the same learned template did, by the same caller', () => {
    const book = new AccessBook();
    for (let i = 0; i < 40; i++) book.note(from, cart, get(`/orders/${1000 + i}/items`), true);
    book.note(from, cart, get('/health'), true);
    book.note(stranger(1), cart, get('/orders/1/items'), false);
    expect(book.has(from, cart, get('/orders/999999/items'))).toBe(true);
    for (const other of [
      get('/orders/999999/refund'),
      get('/healthz'),
      get('/orders/999999/items', 81),
      get('/orders/../admin'),
    ])
      expect(book.has(from, cart, other)).toBe(false);
    expect(book.has(stranger(1), cart, get('/orders/999999/items'))).toBe(false);
    expect(
      book.has(from, cart, { kind: 'http', port: 80, method: 'POST', path: '/orders/999999/items' }),
    ).toBe(false);
  });

  test('by templates that are learned again when enough has been added', () => {
    const book = new AccessBook();
    book.note(from, cart, get('/a'), true);
    expect(book.has(from, cart, get('/orders/9/items'))).toBe(false);
    for (let i = 0; i < 40; i++) book.note(from, cart, get(`/orders/${1000 + i}/items`), true);
    expect(book.has(from, cart, get('/orders/9/items'))).toBe(true);
  });

  test('but nothing is the like of what was collapsed', () => {
    const book = new AccessBook();
    book.note(from, cart, get('/{collapsed=**}'), true);
    book.note(from, cart, get('/a/{collapsed1}'), true);
    expect(book.has(from, cart, get('/anything'))).toBe(false);
    expect(book.has(from, cart, get('/a/1'))).toBe(false);
  });
});

describe('room', () => {
  test('is bounded for one caller: its paths are collapsed, and what is known stays as it is', () => {
    const book = new AccessBook();
    const put = (action: Action) => {
      const kept = book.kept(from, cart, action);
      if (kept !== undefined) book.note(kept.from, cart, kept.action, true);
      return kept?.action;
    };
    for (let i = 0; i < 10_000; i++) put(get(`/a/${i}`));
    expect(put(get('/a/1'))).toEqual(get('/a/1'));
    expect(put(get('/a/10001'))).toEqual(get('/a/{collapsed1}'));
    expect(put({ kind: 'tcp', port: 1 })).toEqual({ kind: 'tcp', port: 1 });
    for (let i = 0; i < 40_000; i++)
      put(get(`/${String.fromCodePoint(0x4e00 + (i % 20_000))}${i >= 20_000 ? 'x' : ''}`));
    const last = put(get('/never-seen'));
    expect(last?.kind === 'http' && isCollapsed(last.path)).toBe(true);
  });

  test('is bounded for callers: those without an identity become one', () => {
    const book = new AccessBook();
    for (let i = 0; i < 10_000; i++) book.note(stranger(i), cart, get('/'), false);
    expect(book.kept(stranger(10_001), cart, get('/'))?.from).toEqual({
      kind: 'unauthenticated',
      from: 'unknown',
    });
    expect(book.kept(stranger(1), cart, get('/'))?.from).toEqual(stranger(1));
    expect(book.kept(from, cart, get('/'))).toBeUndefined();
    expect(book.kept(stranger(10_001), web, get('/'))?.from).toEqual(stranger(10_001));
  });
});

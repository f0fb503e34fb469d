import { describe, expect, test } from 'vitest';
import { buildGraph, HOUR_MS, parseSpiffeId, type RecordedCoverage, Tally } from '../../access/index.ts';
import { coverageOf } from './coverage.ts';
import { readiness } from './readiness.ts';

const START = Date.UTC(2026, 9, 19);
const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const mail = parseSpiffeId('spiffe://example.org/ns/shop/sa/mail');
const redis = parseSpiffeId('spiffe://example.org/ns/shop/sa/redis');
const end = (workload: string) => ({ namespace: 'shop', workload });

/** The cart is recorded by its proxy for two weeks, the mail by traces for three hours. */
function graph(coverage?: readonly RecordedCoverage[]) {
  const envoy = new Tally('envoy');
  const otlp = new Tally('otlp');
  const http = { kind: 'http', port: 80, method: 'GET', path: '/' } as const;
  for (let hour = 0; hour < 14 * 24; hour++) {
    envoy.access(end('web'), end('cart'), http, 'callee').add(START + hour * HOUR_MS, 'ok');
  }
  for (const hour of [100, 101, 102]) {
    otlp.access(end('web'), end('mail'), http, 'callee').add(START + hour * HOUR_MS, 'ok');
  }
  otlp.blindSpot({ kind: 'client-only', from: end('cart'), to: end('redis'), what: 'GET' }, START);
  const accesses = [...envoy.accesses(), ...otlp.accesses()];
  const blindSpots = [...otlp.blindSpots()];
  const recorded = { trustDomain: 'example.org', accesses, blindSpots, facts: [], events: 1, lost: 0 };
  return buildGraph({ ...recorded, ...(coverage === undefined ? {} : { coverage }) });
}

describe('the time that counts for a workload', () => {
  test('is the time in which calls to it were recorded, not what others were recorded for', () => {
    expect(coverageOf(graph(), cart).hours).toHaveLength(14 * 24);
    expect(coverageOf(graph(), mail).hours).toHaveLength(3);
  });

  test('is nothing for a workload that no call to was recorded: there is no bound', () => {
    const { surprises, calendar } = readiness(graph(), redis, { now: START + 15 * 24 * HOUR_MS });
    expect(surprises.bound).toBe(Number.POSITIVE_INFINITY);
    expect(calendar.days).toBe(0);
  });
});

describe('where each recording says what it covers', () => {
  const hour = (n: number) => START / HOUR_MS + n;
  const hours = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => hour(from + i));
  const envoy = { source: 'envoy', events: 336, lost: 7, callees: [end('cart')], others: [end('web')] };

  test('hours are those of the recordings that hold calls to the workload, from its first call to its last', () => {
    const known = graph([
      { ...envoy, hours: hours(0, 336) },
      {
        source: 'otlp',
        events: 3,
        lost: 0,
        callees: [end('mail')],
        others: [end('web')],
        hours: hours(90, 110),
      },
    ]);
    expect(coverageOf(known, cart).hours).toHaveLength(336);
    expect(coverageOf(known, mail).hours).toEqual(hours(100, 103));
    expect(
      [coverageOf(known, cart), coverageOf(known, mail)].map(({ events, lost }) => [events, lost]),
    ).toEqual([
      [336, 7],
      [3, 0],
    ]);
  });

  test('a recording in which a workload only calls may have lost calls to it, and covers none of its hours', () => {
    const web = parseSpiffeId('spiffe://example.org/ns/shop/sa/web');
    expect(coverageOf(graph([{ ...envoy, hours: hours(0, 336) }]), web)).toMatchObject({
      lost: 7,
      hours: [],
    });
  });

  test('what a recording names in a blind spot it may have lost; what nothing names has neither', () => {
    const spot = {
      source: 'otlp',
      events: 3,
      lost: 2,
      callees: [],
      others: [end('redis')],
      hours: hours(0, 9),
    };
    expect(coverageOf(graph([spot]), redis)).toMatchObject({ events: 3, lost: 2 });
    expect(coverageOf(graph([spot]), cart)).toMatchObject({ events: 0, lost: 0, hours: [] });
  });

  test('one of which nobody knows whom it names concerns everybody, and covers what its source saw', () => {
    const known = graph([{ source: 'envoy', events: 336, lost: 7 }]);
    expect(coverageOf(known, cart)).toMatchObject({ lost: 7, hours: hours(0, 336) });
    expect(coverageOf(known, mail)).toMatchObject({ lost: 7, hours: [] });
  });
});

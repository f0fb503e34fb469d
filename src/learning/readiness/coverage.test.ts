import { describe, expect, test } from 'vitest';
import { buildGraph, HOUR_MS, parseSpiffeId, Tally } from '../../access/index.ts';
import { coverageOf } from './coverage.ts';
import { readiness } from './readiness.ts';

const START = Date.UTC(2026, 9, 19);
const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const mail = parseSpiffeId('spiffe://example.org/ns/shop/sa/mail');
const redis = parseSpiffeId('spiffe://example.org/ns/shop/sa/redis');
const end = (workload: string) => ({ namespace: 'shop', workload });

/** The cart is recorded by its proxy for two weeks, the mail by traces for three hours. */
function graph() {
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
  return buildGraph({ trustDomain: 'example.org', accesses, blindSpots, facts: [], events: 1, lost: 0 });
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

import { expect } from 'vitest';
import { type Reading, readLines, type Seen, seen, skipped } from '../accesslog/testing.ts';
import { envoy } from './index.ts';

/** The identity that tests see as its name. */
export const id = (name: string) => `spiffe://example.org/ns/shop/sa/${name}`;

/** A line of the callee's proxy. */
export const LINE = {
  start_time: '2026-10-15T11:00:00.123Z',
  method: 'GET',
  path: '/items/7?x=1',
  protocol: 'HTTP/1.1',
  response_code: 200,
  response_flags: '-',
  response_code_details: 'via_upstream',
  bytes_received: 0,
  bytes_sent: 12,
  authority: 'cart:8080',
  upstream_host: '127.0.0.1:8080',
  upstream_cluster: 'cart_local',
  downstream_local_address: '10.0.0.9:8080',
  downstream_remote_address: '10.0.0.5:41234',
  downstream_peer_uri_san: id('web'),
  downstream_local_uri_san: id('cart'),
};
/** The change to a line without certificates. */
export const NO_CERTS = { downstream_peer_uri_san: undefined, downstream_local_uri_san: undefined };

/** The one access of LINE with these changes. */
export function one(changes: object, reading?: Reading): Seen | undefined {
  const tally = readLines(envoy, [{ ...LINE, ...changes }], reading);
  expect(skipped(tally)).toEqual({});
  const [access, ...more] = seen(tally);
  expect(more).toEqual([]);
  return access;
}

/** Why LINE with these changes is skipped. */
export function refused(changes: object): string {
  const tally = readLines(envoy, [{ ...LINE, ...changes }]);
  expect([tally.accepted, tally.accessCount]).toEqual([0, 0]);
  return Object.keys(skipped(tally)).join();
}

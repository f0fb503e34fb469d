import { expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import type { JudgedAccess } from './judged.ts';
import { neighbours } from './workloads.ts';

const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const of = (from: string, state: JudgedAccess['state'], count: number): JudgedAccess => ({
  key: `${from} ${state}`,
  from,
  to: cart,
  action: { kind: 'tcp', port: 1 },
  views: ['observed'],
  state,
  authentication: 'mutual',
  count,
  approximate: [],
  uses: [],
});

test('who was refused is among the neighbours, though none of its calls arrived', () => {
  const found = neighbours(
    [of('mail', 'denied', 0), of('web', 'allowed', 9), of('web', 'would-deny', 2)],
    'from',
  );
  expect(
    found.map(({ principal, calls, denied, wouldDeny }) => [principal, calls, denied, wouldDeny]),
  ).toEqual([
    ['web', 11, 0, 1],
    ['mail', 0, 1, 0],
  ]);
});

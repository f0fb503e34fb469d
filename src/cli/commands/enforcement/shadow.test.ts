import { expect, test } from 'vitest';
import { parseSpiffeId } from '../../../access/index.ts';
import { flipLine } from './shadow.ts';

test('the line of a flip prints nothing that a terminal would act on: whoever asks for a path chooses it', () => {
  const to = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
  const line = flipLine({
    from: { kind: 'unauthenticated', from: '10.0.0.7' },
    to,
    action: { kind: 'http', port: 80, method: 'GET', path: '/a\u009b2J\u202e' },
    before: { allowed: true, decidedBy: 'no-policy' },
    after: { allowed: false, decidedBy: 'no-rule' },
    refused: false,
    count: 1,
    firstSeen: 0,
    lastSeen: 0,
  });
  expect(line).toContain('/a\\u009b2J\\u202e');
  expect(line).not.toMatch(/[\p{Cc}\p{Cf}]/u);
});

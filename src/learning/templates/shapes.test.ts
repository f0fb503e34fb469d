import { describe, expect, test } from 'vitest';
import { type Shape, shapeOf } from './shapes.ts';

const SHAPED: readonly (readonly [string, Shape])[] = [
  ['0', 'integer'],
  ['42', 'integer'],
  ['-7', 'integer'],
  ['+4930123456', 'integer'],
  ['80.50', 'number'],
  ['550e8400-e29b-41d4-a716-446655440000', 'uuid'],
  ['550E8400-E29B-41D4-A716-446655440000', 'uuid'],
  ['01ARZ3NDEKTSV4RRFFQ69G5FAV', 'ulid'],
  ['507f1f77bcf86cd799439011', 'hex'],
  ['da39a3ee5e6b4b0d3255bfef95601890afd80709', 'hex'],
  ['a1b2c3d', 'hex'],
  ['2023-01-29', 'date'],
  ['2023-01', 'date'],
  ['29.01.2023', 'date'],
  ['2023-01-29T08:42:48Z', 'time'],
  ['2023-01-29%2008:42:48', 'time'],
  ['2023-01-29T08%3A42%3A48.123%2B01%3A00', 'time'],
  ['jane.doe%40example.com', 'email'],
  ['jane+tag@example.co.uk', 'email'],
  ['10.0.0.1', 'address'],
  ['10.0.0.1:8080', 'address'],
  ['2001:db8::1', 'address'],
  ['1.4.2', 'version'],
  ['v1.4.2-rc.1', 'version'],
  ['G1234', 'code'],
  ['SKU-10442', 'code'],
  ['OPS-1', 'code'],
  ['cus_NffrFeUfNV2Hib', 'token'],
  ['dQw4w9WgXcQ', 'token'],
  ['i-0abcd1234ef567890', 'token'],
  ['cartservice-6f6cfc45b-h5m2n', 'token'],
  ['eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P', 'token'],
  ['aGVsbG8gd29ybGQ=', 'token'],
  ['1,2,3', 'list'],
  ['52.52,13.40', 'list'],
  ['4711.pdf', 'file'],
  ['3f2a9c0de1b4.png', 'file'],
];

const WORDS = [
  '',
  'orders',
  'status',
  'v1',
  'v2beta1',
  'v1.41',
  'oauth2',
  'sha256',
  's3',
  'k8s',
  'ipv6',
  'utf-8',
  'me',
  'by-name',
  'byRouteIdsAndTrainTypes',
  'left_tickets',
  'trip_detail',
  'openid-connect',
  '.well-known',
  'index.html',
  'favicon.ico',
  'customresourcedefinitions',
  'shanghai',
  'nan%20jing',
  'GaoTieOne',
  'DirectTicketAllocationProportion',
  'deadbeef',
  'facade',
  '__proto__',
  'constructor',
  '100%25off',
  '%E0%A4%A',
];

describe('the shape of a segment', () => {
  test.each(SHAPED)('%s is of the shape %s', (segment, shape) => {
    expect(shapeOf(segment)).toBe(shape);
  });

  test.each(WORDS)('"%s" may be a word', (segment) => {
    expect(shapeOf(segment)).toBeUndefined();
  });
});

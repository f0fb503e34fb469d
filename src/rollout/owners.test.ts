import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../access/index.ts';
import { isOwner, ownersOf, readOwners } from './owners.ts';

const id = (path: string) => parseSpiffeId(`spiffe://example.org${path}`);
const FILE = `
# who owns what
@team-shop = alice bob
spiffe://example.org/* carol        # everything
spiffe://example.org/ns/shop/* @team-shop dave
spiffe://example.org/ns/shop/sa/cart user:https://id.example#eve
spiffe://example.org/ns/open/*
`;
const owners = readOwners(FILE, 'OWNERS');

describe('the owners of a workload', () => {
  test.each([
    ['/ns/x/sa/y', undefined, ['carol']],
    ['/ns/shop/sa/web', undefined, ['@team-shop', 'dave']],
    ['/ns/shop/sa/cart', undefined, ['user:https://id.example#eve']],
    ['/ns/shop/sa/cart2', undefined, ['@team-shop', 'dave']],
    ['/ns/open/sa/y', undefined, []],
    ['/ns/shop/sa/cart', 'frank, @team-shop', ['frank', '@team-shop']],
    ['/ns/shop/sa/web', '  ', ['@team-shop', 'dave']],
  ])('%s with the label %j are %j', (path, mark, expected) => {
    expect(ownersOf(id(path), mark, owners)).toEqual(expected);
  });
  test('of another trust domain are nobody', () => {
    expect(ownersOf(parseSpiffeId('spiffe://other.org/ns/shop/sa/cart'), undefined, owners)).toEqual([]);
  });
});

test.each([
  ['local:alice', ['@team-shop'], true],
  ['user:https://id.example#bob', ['@team-shop'], true],
  ['user:https://id.example#bob', ['user:https://id.example#bob'], true],
  ['user:https://evil.example#bob', ['user:https://id.example#bob'], false],
  ['user:https://id.example#x#alice', ['alice'], false],
  ['link:alice', ['alice'], false],
  ['@team-shop', ['@team-shop'], false],
  ['local:carol', ['@team-shop'], false],
  ['spiffe://example.org/ci', ['spiffe://example.org/ci'], true],
])('%s is one of %j: %s', (who, names, expected) => {
  expect(isOwner(who, names, owners)).toBe(expected);
});

test('people have the names that the file gives them, and nobody else is taken for them', () => {
  const file = readOwners('ann = local:ann user:https://id.example#4f2c git:ann@x\n@team = ann', 'OWNERS');
  expect([...file.people]).toEqual([
    ['local:ann', 'ann'],
    ['user:https://id.example#4f2c', 'ann'],
    ['git:ann@x', 'ann'],
  ]);
  const owns = (who: string) => isOwner(who, ['@team'], file);
  expect([owns('local:ann'), owns('user:https://id.example#4f2c')]).toEqual([true, true]);
  // Somebody of that name whom the file does not know by it.
  expect(owns('user:https://id.example#ann')).toBe(false);
  expect(isOwner('user:https://id.example#ann', ['user:https://id.example#ann'], file)).toBe(true);
});

test.each([
  ['example.org/ns/shop alice', 1],
  ['\nspiffe://example.org/*/sa/x alice', 2],
  ['@a = b\n@a = c', 2],
  ['@a = @b', 1],
  ['@a alice', 1],
  ['spiffe://example.org/x = alice', 1],
  [`spiffe://example.org/x ${'a '.repeat(21)}`, 1],
  ['ann = local:ann\nann = git:ann@x', 2],
  ['ann = local:ann\nben = git:ben@x local:ann', 2],
  ['ann = ann', 1],
  ['ann = user:ann', 1],
  ['local:ann = git:ann@x', 1],
])('%j is refused with its line', (text, line) => {
  expect(() => readOwners(text, 'OWNERS')).toThrow(
    expect.objectContaining({ code: 'invalid_document', place: { file: 'OWNERS', line } }),
  );
});

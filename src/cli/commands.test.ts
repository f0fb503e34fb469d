import { expect, test } from 'vitest';
import { allCommands, commandsFor } from './commands.ts';

const names = async (...argv: string[]) => (await commandsFor(argv)).map(({ name }) => name);

test('a command line loads the command that it names and no other', async () => {
  for (const { name } of await allCommands()) {
    const found = await names(...name.split(' '), '--json');
    expect(found).toContain(name);
    // Those of a small group are loaded together; these two groups have parts that are slow to load.
    if (/^(authority|identity) /.test(name)) expect(found).toEqual([name]);
    expect(new Set(found.map((each) => each.split(' ')[0]))).toEqual(new Set([name.split(' ')[0]]));
  }
});

test('a group, or a word that it does not have, loads the group; anything else loads all', async () => {
  const authority = await names('authority');
  expect(authority.length).toBeGreaterThan(10);
  expect(authority.every((name) => name.startsWith('authority '))).toBe(true);
  expect(await names('authority', 'mistyped')).toEqual(authority);
  expect(await names('identity', 'rules', '--help')).toContain('identity rules apply');
  expect(await names('help', 'authority')).toEqual((await allCommands()).map(({ name }) => name));
});

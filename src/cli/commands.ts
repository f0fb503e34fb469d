import type { CommandSpec } from './command.ts';

type Load = () => Promise<readonly CommandSpec<never>[]>;

/**
 * The commands, by the first of their words, in the order of the loop. Each is loaded when it is called for: an agent
 * that starts on a node must not wait for the parsers and engines that other commands need.
 */
const COMMANDS: ReadonlyMap<string, Load> = new Map<string, Load>([
  ['observe', async () => [(await import('./commands/observe.ts')).observeCommand]],
  ['access', async () => [(await import('./commands/access.ts')).accessCommand]],
  ['identities', async () => [(await import('./commands/identities.ts')).identitiesCommand]],
  ['propose', async () => [(await import('./commands/propose.ts')).proposeCommand]],
  ['readiness', async () => [(await import('./commands/readiness.ts')).readinessCommand]],
  ['rehearse', async () => [(await import('./commands/rehearse.ts')).rehearseCommand]],
  ['decide', async () => [(await import('./commands/decide.ts')).decideCommand]],
  ['render', async () => [(await import('./commands/render.ts')).renderCommand]],
  ['diff', async () => [(await import('./commands/diff.ts')).diffCommand]],
  ['authority', async () => (await import('./commands/authority/index.ts')).AUTHORITY_COMMANDS],
  ['identity', async () => (await import('./commands/identity/index.ts')).IDENTITY_COMMANDS],
  ['cutover', async () => (await import('./commands/cutover/index.ts')).CUTOVER_COMMANDS],
  ['federation', async () => (await import('./commands/federation/index.ts')).FEDERATION_COMMANDS],
  ['agent', async () => [(await import('./commands/agent.ts')).agentCommand]],
  ['helper', async () => [(await import('./commands/helper.ts')).helperCommand]],
]);

/** The commands that begin with a word; all of them where none does, since then the help must list them. */
export async function commandsFor(word: string | undefined): Promise<readonly CommandSpec<never>[]> {
  const load = word === undefined ? undefined : COMMANDS.get(word);
  return load === undefined ? allCommands() : load();
}

/** Every command. */
export async function allCommands(): Promise<readonly CommandSpec<never>[]> {
  const loaded = await Promise.all([...COMMANDS.values()].map((load) => load()));
  return loaded.flat();
}

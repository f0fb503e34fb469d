import type { CommandSpec } from '../../command.ts';
import { envoyBootstrapCommand } from './bootstrap.ts';
import { envoyApplyCommand, envoyRemoveCommand } from './documents.ts';

/** `interlock envoy ...`. */
export const ENVOY_COMMANDS: readonly CommandSpec<never>[] = [
  envoyBootstrapCommand,
  envoyApplyCommand,
  envoyRemoveCommand,
];

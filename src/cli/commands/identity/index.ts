import type { CommandSpec } from '../../command.ts';
import { identityExplainCommand } from './explain.ts';
import { identityListCommand } from './list.ts';
import { identityAllowCommand, identityRevokeCommand, identityRevokedCommand } from './revoke.ts';
import { rulesApplyCommand, rulesDeleteCommand, rulesListCommand } from './rules.ts';
import { identityVerifyCommand } from './verify.ts';

/** `interlock identity ...`. */
export const IDENTITY_COMMANDS: readonly CommandSpec<never>[] = [
  identityListCommand,
  identityExplainCommand,
  identityVerifyCommand,
  identityRevokeCommand,
  identityAllowCommand,
  identityRevokedCommand,
  rulesApplyCommand,
  rulesListCommand,
  rulesDeleteCommand,
];

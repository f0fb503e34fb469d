import type { CommandSpec } from '../../command.ts';
import { authorityAgentsCommand, authorityEvictCommand } from './agents.ts';
import { authorityAuditCommand } from './audit.ts';
import { authorityBundleCommand } from './bundle.ts';
import { authorityInitCommand } from './init.ts';
import {
  authorityActivateCommand,
  authorityPrepareCommand,
  authorityRevokeCommand,
  authorityRotateCommand,
  authorityTaintCommand,
} from './move.ts';
import { authorityCsrCommand, authorityImportCommand, authoritySignCommand } from './offline.ts';
import { authorityServeCommand } from './serve.ts';
import { authorityShowCommand } from './show.ts';
import { authorityTokenCommand } from './token.ts';

/** `interlock authority ...`, in the order of an authority's life. */
export const AUTHORITY_COMMANDS: readonly CommandSpec<never>[] = [
  authorityInitCommand,
  authorityServeCommand,
  authorityShowCommand,
  authorityTokenCommand,
  authorityAgentsCommand,
  authorityEvictCommand,
  authorityBundleCommand,
  authorityRotateCommand,
  authorityPrepareCommand,
  authorityActivateCommand,
  authorityTaintCommand,
  authorityRevokeCommand,
  authorityCsrCommand,
  authoritySignCommand,
  authorityImportCommand,
  authorityAuditCommand,
];

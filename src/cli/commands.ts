import type { CommandSpec } from './command.ts';

type Load = () => Promise<readonly CommandSpec<never>[]>;

/**
 * The commands by their words, or by the first of them, in the order of the loop. Each is loaded when it is called for:
 * an agent that starts on a node must not wait for the parsers and engines that other commands need.
 */
const COMMANDS: ReadonlyMap<string, Load> = new Map<string, Load>([
  ['up', async () => [(await import('./commands/up.ts')).upCommand]],
  ['sign-in', async () => [(await import('./commands/sign-in.ts')).signInCommand]],
  ['sign-out', async () => [(await import('./commands/sign-in.ts')).signOutCommand]],
  ['notifications', async () => (await import('./commands/notifications.ts')).NOTIFICATION_COMMANDS],
  ['sign-in-link', async () => [(await import('./commands/sign-in-link.ts')).signInLinkCommand]],
  ['observe', async () => [(await import('./commands/observe.ts')).observeCommand]],
  ['access', async () => [(await import('./commands/access.ts')).accessCommand]],
  ['identities', async () => [(await import('./commands/identities.ts')).identitiesCommand]],
  ['propose', async () => [(await import('./commands/propose.ts')).proposeCommand]],
  ['readiness', async () => [(await import('./commands/readiness.ts')).readinessCommand]],
  ['rehearse', async () => [(await import('./commands/rehearse.ts')).rehearseCommand]],
  ['decide', async () => [(await import('./commands/decide.ts')).decideCommand]],
  ['render', async () => [(await import('./commands/render.ts')).renderCommand]],
  ['diff', async () => [(await import('./commands/diff.ts')).diffCommand]],
  ['policy', async () => (await import('./commands/enforcement/policy.ts')).POLICY_COMMANDS],
  ['policy history', async () => (await import('./commands/review/index.ts')).HISTORY_COMMANDS],
  ['test', async () => [(await import('./commands/test.ts')).testCommand]],
  ['sync', async () => [(await import('./commands/sync.ts')).syncCommand]],
  ['review', async () => (await import('./commands/review/index.ts')).REVIEW_COMMANDS],
  ['preflight', async () => [(await import('./commands/enforcement/preflight.ts')).preflightCommand]],
  ['promote', async () => [(await import('./commands/enforcement/promote.ts')).promoteCommand]],
  ['authentication', async () => [(await import('./commands/enforcement/promote.ts')).authenticationCommand]],
  ['shadow', async () => [(await import('./commands/enforcement/shadow.ts')).shadowCommand]],
  ['release', async () => [(await import('./commands/enforcement/release.ts')).releaseCommand]],
  ['arm', async () => [(await import('./commands/enforcement/release.ts')).armCommand]],
  ['proxies', async () => [(await import('./commands/enforcement/proxies.ts')).proxiesCommand]],
  ['replicas', async () => [(await import('./commands/replicas.ts')).replicasCommand]],
  ['authority init', async () => [(await import('./commands/authority/init.ts')).authorityInitCommand]],
  [
    'authority key-file',
    async () => [(await import('./commands/authority/key-file.ts')).authorityKeyFileCommand],
  ],
  ['authority keys', async () => [(await import('./commands/authority/keys.ts')).authorityKeysCommand]],
  ['authority reseal', async () => [(await import('./commands/authority/keys.ts')).authorityResealCommand]],
  ['authority serve', async () => [(await import('./commands/authority/serve.ts')).authorityServeCommand]],
  ['authority show', async () => [(await import('./commands/authority/show.ts')).authorityShowCommand]],
  ['authority token', async () => [(await import('./commands/authority/token.ts')).authorityTokenCommand]],
  ['authority agents', async () => [(await import('./commands/authority/agents.ts')).authorityAgentsCommand]],
  ['authority evict', async () => [(await import('./commands/authority/agents.ts')).authorityEvictCommand]],
  ['authority bundle', async () => [(await import('./commands/authority/bundle.ts')).authorityBundleCommand]],
  ['authority rotate', async () => [(await import('./commands/authority/move.ts')).authorityRotateCommand]],
  ['authority prepare', async () => [(await import('./commands/authority/move.ts')).authorityPrepareCommand]],
  [
    'authority activate',
    async () => [(await import('./commands/authority/move.ts')).authorityActivateCommand],
  ],
  ['authority taint', async () => [(await import('./commands/authority/move.ts')).authorityTaintCommand]],
  ['authority revoke', async () => [(await import('./commands/authority/move.ts')).authorityRevokeCommand]],
  ['authority csr', async () => [(await import('./commands/authority/offline.ts')).authorityCsrCommand]],
  ['authority sign', async () => [(await import('./commands/authority/offline.ts')).authoritySignCommand]],
  [
    'authority import',
    async () => [(await import('./commands/authority/offline.ts')).authorityImportCommand],
  ],
  ['authority join', async () => [(await import('./commands/authority/join.ts')).authorityJoinCommand]],
  ['authority leave', async () => [(await import('./commands/authority/join.ts')).authorityLeaveCommand]],
  ['authority audit', async () => [(await import('./commands/authority/audit.ts')).authorityAuditCommand]],
  ['identity list', async () => [(await import('./commands/identity/list.ts')).identityListCommand]],
  ['identity explain', async () => [(await import('./commands/identity/explain.ts')).identityExplainCommand]],
  ['identity verify', async () => [(await import('./commands/identity/verify.ts')).identityVerifyCommand]],
  ['identity revoke', async () => [(await import('./commands/identity/revoke.ts')).identityRevokeCommand]],
  ['identity allow', async () => [(await import('./commands/identity/revoke.ts')).identityAllowCommand]],
  ['identity revoked', async () => [(await import('./commands/identity/revoke.ts')).identityRevokedCommand]],
  ['identity rules apply', async () => [(await import('./commands/identity/rules.ts')).rulesApplyCommand]],
  ['identity rules list', async () => [(await import('./commands/identity/rules.ts')).rulesListCommand]],
  ['identity rules delete', async () => [(await import('./commands/identity/rules.ts')).rulesDeleteCommand]],
  ['cutover', async () => (await import('./commands/cutover/index.ts')).CUTOVER_COMMANDS],
  ['federation', async () => (await import('./commands/federation/index.ts')).FEDERATION_COMMANDS],
  ['agent', async () => [(await import('./commands/agent.ts')).agentCommand]],
  ['envoy bootstrap', async () => [(await import('./commands/envoy/bootstrap.ts')).envoyBootstrapCommand]],
  ['envoy apply', async () => [(await import('./commands/envoy/documents.ts')).envoyApplyCommand]],
  ['envoy remove', async () => [(await import('./commands/envoy/documents.ts')).envoyRemoveCommand]],
  ['envoy relay', async () => [(await import('./commands/envoy/relay.ts')).envoyRelayCommand]],
  ['proxy', async () => [(await import('./commands/proxy.ts')).proxyCommand]],
  ['intercept', async () => (await import('./commands/intercept.ts')).INTERCEPT_COMMANDS],
  ['helper', async () => [(await import('./commands/helper.ts')).helperCommand]],
]);

/**
 * The commands that a command line can mean: the one whose words it begins with, else those of the same first word;
 * all of them where there are none, since then the help must list them.
 */
export async function commandsFor(argv: readonly string[]): Promise<readonly CommandSpec<never>[]> {
  const all = [...COMMANDS].map(([name, load]) => ({ words: name.split(' '), load }));
  const meant = all.filter(({ words }) => words.every((word, i) => word === argv[i]));
  const near = meant.length > 0 ? meant : all.filter(({ words }) => words[0] === argv[0]);
  const loaded = await Promise.all((near.length > 0 ? near : all).map(({ load }) => load()));
  return loaded.flat();
}

/** Every command. */
export function allCommands(): Promise<readonly CommandSpec<never>[]> {
  return commandsFor([]);
}

import { InterlockError, isInterlockError, kubernetesNameOf, type SpiffeId } from '../../../access/index.ts';
import { type ReleaseScope, scopeText } from '../../../rollout/index.ts';
import { type CommandSpec, Option, spiffeIdOption } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { followChange, tellProgress } from '../../control/change.ts';
import { LocalProxy } from '../../control/local-proxy.ts';
import { type ApiOptions, SERVER, durationOption } from '../../control/options.ts';
import { distanceText, timeAndDistance } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import type { Terminal } from '../../terminal.ts';
import { timeText } from '../../words.ts';
import { tellReleasedHere } from './released-here.ts';
import type { RolloutShown } from './policy.ts';

const SCOPES = ['all', 'cluster', 'namespace', 'workload', 'policy', 'local', 'drill', 'list'] as const;

interface ReleaseOptions extends ApiOptions {
  readonly all?: true;
  readonly cluster?: string;
  readonly namespace?: string;
  readonly workload?: SpiffeId;
  readonly policy?: string;
  readonly local?: true;
  readonly drill?: true;
  readonly list?: true;
  readonly proxySocket?: string;
  readonly reason?: string;
  readonly for?: number;
  readonly wait: number;
}

/** Shortest time that a release is made for, in milliseconds. */
const LEAST_MS = 1000;

const PROXY_SOCKET = new Option(
  '--proxy-socket <path>',
  'with --local: the socket of the proxy on this machine (default: proxy.sock in the state)',
);

/** `interlock release`: the red button. */
export const releaseCommand: CommandSpec<ReleaseOptions> = {
  name: 'release',
  summary:
    'The red button: enforcement becomes shadow in a scope, at once; mutual TLS stays. Prints which proxies confirmed and in how many milliseconds, and exits with 4 while some have not. "interlock arm" undoes it.',
  options: [
    SERVER,
    new Option('--all', 'everything'),
    new Option('--cluster <name>', 'one cluster'),
    new Option('--namespace <name>', 'the workloads of a namespace'),
    new Option('--workload <id>', 'one workload').argParser(spiffeIdOption),
    new Option('--policy <name>', 'the workloads that a policy protects'),
    new Option(
      '--local',
      'the proxy on this machine, with everything else down; may be narrowed by --workload',
    ),
    new Option('--drill', 'prove that the button reaches every proxy, and change nothing'),
    new Option('--list', 'show what is released, also by hand at a proxy, and the last drills'),
    new Option('--reason <text>', 'why: for the audit log'),
    new Option('--for <duration>', 'end by itself after 30m, 2h, ...').argParser(durationOption),
    new Option('--wait <duration>', 'how long to wait for proxies to confirm')
      .argParser(durationOption)
      .default(5000, '5s'),
    PROXY_SOCKET,
  ],
  example: 'interlock release --namespace shop --reason "checkout is failing" --for 2h',
  json: '{release, progress: {confirmed: [{key, ms}], waiting: [{key, connected, fault?}]}, nothingThere: boolean}; with --list {releases, drills, local: [{proxy, connected, workload?, reason, by, at, until?}]}',
  async run({ terminal, now }, _args, options) {
    const { state, server, json, wait } = options;
    const api = new Api({ state, server });
    if (options.list) {
      onlyOne(options);
      return list(api, terminal, now(), json);
    }
    if (options.drill) {
      onlyOne(options);
      const progress = await api.call('releases.drill', { body: { waitMs: Math.min(wait, 30_000) } });
      if (json) terminal.json({ progress });
      else {
        terminal.prose(
          'Drill: every connected proxy was sent its state the way a release goes. Nothing was changed.',
        );
        tellProgress(terminal, progress, { names: true });
      }
      // Who has left cannot take part: listed, and no reason to say that the button does not work.
      return progress.waiting.some(({ connected }) => connected) ? EXIT.unconfirmed.code : EXIT.done.code;
    }
    const reason = options.reason?.trim();
    if (reason === undefined || reason === '')
      throw new InterlockError('usage', '--reason', 'say why with --reason: whoever is called next will ask');
    if (options.local) return releaseLocally(options, reason, terminal);
    const forMs = options.for;
    if (forMs !== undefined && forMs < LEAST_MS)
      throw new InterlockError('usage', '--for', 'a release lasts at least 1s: --for 30m, --for 2h');
    const order = { scope: scopeOf(options), reason, ...(forMs === undefined ? {} : { forMs }) };
    const { release, change } = await api.call('releases.press', { body: order }).catch(orLocally);
    if (!json) {
      const until =
        release.until === undefined ? 'until armed' : `until ${timeAndDistance(release.until, now())}`;
      terminal.prose(`Released ${scopeText(release.scope)}, ${until}.`);
      terminal.line(`Undo: interlock arm ${release.id}`);
    }
    const progress = await followChange(api, change, wait);
    const nothingThere = !(await isCovered(api, release.scope));
    if (json) terminal.json({ release, progress, nothingThere });
    else {
      tellProgress(terminal, progress, { names: true });
      if (nothingThere) tellUncovered(release.scope, terminal);
    }
    return progress.waiting.length === 0 ? EXIT.done.code : EXIT.unconfirmed.code;
  },
};

interface ArmOptions extends ApiOptions {
  readonly all?: true;
  readonly local?: true;
  readonly proxySocket?: string;
  readonly wait: number;
}

/** `interlock arm`: ends releases. */
export const armCommand: CommandSpec<ArmOptions> = {
  name: 'arm',
  args: '[release]',
  summary: 'End a release: what was enforced is enforced again.',
  options: [
    SERVER,
    new Option('--all', 'end every release'),
    new Option('--local', 'end the releases made on this machine'),
    new Option('--wait <duration>', 'how long to wait for proxies to confirm')
      .argParser(durationOption)
      .default(5000, '5s'),
    PROXY_SOCKET,
  ],
  example: 'interlock arm rel-1f2e3d4c5b6a',
  json: '{ended: [release], progress}',
  async run({ terminal }, [id], { state, server, json, wait, all, local, proxySocket }) {
    if (local) {
      const ended = await new LocalProxy(state, proxySocket).arm();
      if (json) terminal.json(ended);
      else terminal.line(`Armed: ${ended.ended} ended on this machine.`);
      return localExit(ended, json, terminal);
    }
    if ((id === undefined) === (all === undefined))
      throw new InterlockError(
        'usage',
        'arm',
        'name one release, or --all: "interlock release --list" shows them',
      );
    const api = new Api({ state, server });
    const { ended, change } = await api.call('releases.arm', { body: id === undefined ? {} : { id } });
    const progress = await followChange(api, change, wait);
    if (json) terminal.json({ ended, progress });
    else {
      for (const release of ended) terminal.prose(`Armed: ${scopeText(release.scope)}.`);
      if (ended.length === 0) terminal.line('Nothing was released.');
      tellProgress(terminal, progress, { names: true });
    }
    return progress.waiting.length === 0 ? EXIT.done.code : EXIT.unconfirmed.code;
  },
};

/** Without a control plane the button is still there, at each proxy. */
function orLocally(error: unknown): never {
  if (!isInterlockError(error) || error.code !== 'unavailable') throw error;
  const { code, subject, message, cause } = error;
  const locally = 'without it, press at each proxy: interlock release --local --state DIRECTORY-OF-THE-PROXY';
  throw new InterlockError(code, subject, `${message}; ${locally}`, { cause });
}

/** Whether anything enforced is in a scope. Asked after the release, which waits for nothing. */
async function isCovered(api: Api, scope: ReleaseScope): Promise<boolean> {
  if (scope.kind === 'all') return true;
  if (scope.kind === 'cluster') {
    const { points } = await api.call('points.list');
    return points.some(({ cluster }) => cluster === scope.cluster);
  }
  const { rollouts } = await api.call('rollouts.list');
  return rollouts.some(({ workload, target, enforced = [] }: RolloutShown) =>
    scope.kind === 'workload'
      ? workload === scope.workload
      : scope.kind === 'namespace'
        ? kubernetesNameOf(workload)?.namespace === scope.namespace
        : [...target, ...enforced].includes(scope.policy),
  );
}

/** A name with a mistake in it releases nothing and is confirmed all the same. */
function tellUncovered(scope: ReleaseScope, terminal: Terminal): void {
  const why =
    scope.kind === 'cluster'
      ? 'no proxy says that it is there. Names: interlock proxies --json'
      : `no policy that is held here concerns ${scopeText(scope)}. Names: interlock policy list`;
  terminal.line();
  terminal.prose(`NOTHING WAS ENFORCED THERE: ${why}`);
}

async function releaseLocally(
  { state, json, workload, proxySocket, for: forMs, ...rest }: ReleaseOptions,
  reason: string,
  terminal: Terminal,
): Promise<number> {
  if (rest.all || rest.cluster !== undefined || rest.namespace !== undefined || rest.policy !== undefined)
    throw new InterlockError('usage', '--local', 'on this machine only --workload narrows a release');
  const done = await new LocalProxy(state, proxySocket).release({
    reason,
    ...(workload === undefined ? {} : { workload }),
    ...(forMs === undefined ? {} : { forMs }),
  });
  if (json) terminal.json(done);
  else if (done.waiting === undefined)
    terminal.prose(`Released on this machine in ${done.ms} ms. Undo: interlock arm --local`);
  else terminal.prose('Released on this machine. Undo: interlock arm --local');
  return localExit(done, json, terminal);
}

/** A relay has pressed for its Envoy, which may not have taken it yet. */
function localExit(
  { waiting }: { readonly waiting?: string },
  json: true | undefined,
  terminal: Terminal,
): number {
  if (waiting === undefined) return EXIT.done.code;
  if (!json) terminal.prose(`Not in force yet: ${waiting}.`);
  return EXIT.unconfirmed.code;
}

async function list(api: Api, terminal: Terminal, now: number, json: true | undefined): Promise<number> {
  const shown = await api.call('releases.list');
  if (json) {
    terminal.json(shown);
    return EXIT.done.code;
  }
  if (shown.releases.length === 0) terminal.line('Nothing is released.');
  else
    terminal.listing([
      ['RELEASE', 'SCOPE', 'ENDS', 'BY', 'REASON'],
      ...shown.releases.map(({ id, scope, until, by, reason }) => [
        id,
        scopeText(scope),
        until === undefined ? 'when armed' : distanceText(until, now),
        by,
        reason,
      ]),
    ]);
  if (shown.local.length > 0) tellReleasedHere(terminal, shown.local, now);
  const last = shown.drills.at(-1);
  terminal.line();
  terminal.prose(
    last === undefined
      ? 'No drill yet: interlock release --drill'
      : `Last drill ${timeText(last.at)} by ${last.by}: ${last.confirmed} of ${last.points} confirmed.`,
  );
  return EXIT.done.code;
}

function scopeOf(options: ReleaseOptions): ReleaseScope {
  onlyOne(options);
  if (options.cluster !== undefined) return { kind: 'cluster', cluster: options.cluster };
  if (options.namespace !== undefined) return { kind: 'namespace', namespace: options.namespace };
  if (options.workload !== undefined) return { kind: 'workload', workload: options.workload };
  if (options.policy !== undefined) return { kind: 'policy', policy: options.policy };
  return { kind: 'all' };
}

function onlyOne(options: ReleaseOptions): void {
  const given = SCOPES.filter((name) => options[name] !== undefined);
  if (given.length === 1) return;
  const words = SCOPES.slice(0, 5).map((name) => `--${name}`);
  throw new InterlockError(
    'usage',
    'release',
    `say what to release with one of ${words.join(', ')}, --local; --drill and --list stand alone`,
  );
}

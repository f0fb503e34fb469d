import { InterlockError, type SpiffeId } from '../../../access/index.ts';
import { type Release, type ReleaseScope, scopeText } from '../../../rollout/index.ts';
import { type CommandSpec, type CommonOptions, Option, spiffeIdOption } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { followChange, type Progress, tellProgress } from '../../control/change.ts';
import { LocalProxy } from '../../control/local-proxy.ts';
import { durationOption } from '../../control/options.ts';
import { distanceText, timeAndDistance } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import { timeText } from '../../words.ts';

const SCOPES = ['all', 'cluster', 'namespace', 'workload', 'policy', 'local', 'drill', 'list'] as const;

interface ReleaseOptions extends CommonOptions {
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
    'The red button: enforcement becomes shadow in a scope, at once; mutual TLS stays. Prints which proxies confirmed and in how many milliseconds. "interlock arm" undoes it.',
  options: [
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
    new Option('--list', 'show what is released, and the last drills'),
    new Option('--reason <text>', 'why: for the audit log'),
    new Option('--for <duration>', 'end by itself after 30m, 2h, ...').argParser(durationOption),
    new Option('--wait <duration>', 'how long to wait for proxies to confirm')
      .argParser(durationOption)
      .default(5000, '5s'),
    PROXY_SOCKET,
  ],
  example: 'interlock release --namespace shop --reason "checkout is failing" --for 2h',
  json: '{release, progress: {confirmed: [{key, ms}], waiting: [{key, connected, fault?}]}}; with --list {releases, drills}',
  async run({ terminal, now }, _args, options) {
    const { state, json, wait } = options;
    const api = new Api(state);
    if (options.list) {
      onlyOne(options);
      return list(api, terminal, now(), json);
    }
    if (options.drill) {
      onlyOne(options);
      const progress = await api.post<Progress>('/v1/releases/drill', { waitMs: Math.min(wait, 30_000) });
      if (json) terminal.json({ progress });
      else {
        terminal.prose(
          'Drill: every connected proxy was sent its state the way a release goes. Nothing was changed.',
        );
        tellProgress(terminal, progress, { names: true });
      }
      return progress.waiting.length === 0 ? EXIT.done.code : EXIT.unconfirmed.code;
    }
    const reason = options.reason?.trim();
    if (reason === undefined || reason === '')
      throw new InterlockError('usage', '--reason', 'say why with --reason: whoever is called next will ask');
    if (options.local) return releaseLocally(options, reason, terminal);
    const forMs = options.for;
    if (forMs !== undefined && forMs < LEAST_MS)
      throw new InterlockError('usage', '--for', 'a release lasts at least 1s: --for 30m, --for 2h');
    const { release, change } = await api.post<{ release: Release; change: string }>('/v1/releases', {
      scope: scopeOf(options),
      reason,
      ...(forMs === undefined ? {} : { forMs }),
    });
    if (!json) {
      const until =
        release.until === undefined ? 'until armed' : `until ${timeAndDistance(release.until, now())}`;
      terminal.prose(`Released ${scopeText(release.scope)}, ${until}.`);
      terminal.line(`Undo: interlock arm ${release.id}`);
    }
    const progress = await followChange(api, change, wait);
    if (json) terminal.json({ release, progress });
    else tellProgress(terminal, progress, { names: true });
    return progress.waiting.length === 0 ? EXIT.done.code : EXIT.unconfirmed.code;
  },
};

interface ArmOptions extends CommonOptions {
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
    new Option('--all', 'end every release'),
    new Option('--local', 'end the releases made on this machine'),
    new Option('--wait <duration>', 'how long to wait for proxies to confirm')
      .argParser(durationOption)
      .default(5000, '5s'),
    PROXY_SOCKET,
  ],
  example: 'interlock arm rel-1f2e3d4c5b6a',
  json: '{ended: [release], progress}',
  async run({ terminal }, [id], { state, json, wait, all, local, proxySocket }) {
    if (local) {
      const ended = await new LocalProxy(state, proxySocket).arm();
      if (json) terminal.json(ended);
      else terminal.line(`Armed: ${ended.ended} ended on this machine.`);
      return EXIT.done.code;
    }
    if ((id === undefined) === (all === undefined))
      throw new InterlockError(
        'usage',
        'arm',
        'name one release, or --all: "interlock release --list" shows them',
      );
    const api = new Api(state);
    const { ended, change } = await api.post<{ ended: Release[]; change: string }>(
      '/v1/releases/arm',
      id === undefined ? {} : { id },
    );
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

async function releaseLocally(
  { state, json, workload, proxySocket, for: forMs, ...rest }: ReleaseOptions,
  reason: string,
  terminal: Parameters<typeof releaseCommand.run>[0]['terminal'],
): Promise<number> {
  if (rest.all || rest.cluster !== undefined || rest.namespace !== undefined || rest.policy !== undefined)
    throw new InterlockError('usage', '--local', 'on this machine only --workload narrows a release');
  const done = await new LocalProxy(state, proxySocket).release({
    reason,
    ...(workload === undefined ? {} : { workload }),
    ...(forMs === undefined ? {} : { forMs }),
  });
  if (json) terminal.json(done);
  else terminal.prose(`Released on this machine in ${done.ms} ms. Undo: interlock arm --local`);
  return EXIT.done.code;
}

async function list(
  api: Api,
  terminal: Parameters<typeof releaseCommand.run>[0]['terminal'],
  now: number,
  json: true | undefined,
): Promise<number> {
  const shown = await api.get<{
    releases: Release[];
    drills: { at: number; by: string; points: number; confirmed: number }[];
  }>('/v1/releases');
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

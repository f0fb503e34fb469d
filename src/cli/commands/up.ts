import { InterlockError } from '../../access/index.ts';
import type { Domain, Place, ServerLog, Serving, Timers } from '../../server/index.ts';
import { type CommandSpec, type CommonOptions, type Context, Option } from '../command.ts';
import { openPlace } from '../config/place.ts';
import { readSettings } from '../config/read.ts';
import { httpOptionsOf, serveOptionsOf } from '../config/serve-options.ts';
import { flagOf, SETTING_NAMES, type Settings } from '../config/settings.ts';
import { timeText } from '../words.ts';
import { DEFAULT_STATE } from '../default-state.ts';
import { EXIT } from '../exit.ts';
import { openLog } from '../log.ts';
import { untilStopped } from '../until-stopped.ts';
import { VERSION } from '../version.ts';

interface Options extends CommonOptions {
  readonly config?: string;
  readonly check?: true;
  readonly testNotifications?: true;
}

/** `interlock up`: the whole product in one process. */
export const upCommand: CommandSpec<Options> = {
  name: 'up',
  summary:
    'Run the control plane: agents and proxies connect, API and console are served, and a link is printed that signs one person in. Sets the state up the first time. Runs until it is stopped.',
  options: [
    new Option(
      '--config <file>',
      'YAML with any of the settings below; a flag or a variable wins over it',
    ).env('INTERLOCK_CONFIG'),
    new Option('--check', 'look whether it could start with these settings, change nothing, and end'),
    new Option('--test-notifications', 'with --check: send a test to each channel of --notify'),
    ...SETTING_NAMES.map(flagOf),
  ],
  example: 'interlock up --trust-domain example.org',
  json: 'first {trustDomain, url, agents, signIn: {url, until}} on one line; log lines on standard error',
  async run(context, _args, options) {
    const { terminal, now } = context;
    // Commander has put the flags beside the other options.
    const flags = options as unknown as Readonly<Record<string, unknown>>;
    const settings = readSettings({ flags, env: process.env, file: options.config });
    if (options.testNotifications && !options.check)
      throw new InterlockError('usage', '--test-notifications', '--test-notifications goes with --check');
    if (options.check) {
      const { check } = await import('../config/check.ts');
      return check(settings, options.state, context, { tests: options.testNotifications === true });
    }
    const log = openLog(terminal, now);
    const { httpNames, realTimers, serveIdentity } = await import('../../server/index.ts');
    const served = await serveOptionsOf(settings);
    const http = await httpOptionsOf(settings);
    // Before a state is made that nobody could be served from.
    httpNames(http);
    const open = await openPlace(settings, options.state, { ...realTimers, now }, log);
    const { place, timers } = open;
    try {
      await setUpOnce(place ?? options.state, settings, timers, log);
      const { state } = options;
      const serving = await serveIdentity({ ...served, http, state, place, timers, log, version: VERSION });
      try {
        await greet(context, options, serving);
        const signal = await untilStopped();
        log.info({ signal }, 'the control plane stops');
      } finally {
        await serving.close();
      }
    } finally {
      await open.close();
    }
    return EXIT.done.code;
  },
};

/** Where everything is, and the link. */
async function greet({ terminal }: Context, { json, state }: Options, serving: Serving): Promise<void> {
  const { http, plane, port, makeLink } = serving;
  const { trustDomain } = plane.registry.domain;
  const signIn = await makeLink?.();
  if (json) {
    terminal.json({ trustDomain, url: http?.origin, agents: port, signIn });
    return;
  }
  terminal.prose(`The control plane of ${trustDomain} is up.`);
  terminal.table(
    [
      ['console and API', http?.origin ?? ''],
      ['agents and proxies', `port ${port}`],
    ],
    { heading: false },
  );
  if (http?.hasConsole === false)
    terminal.prose('The console is not built: "npm run build:console" builds it. The API works without it.');
  if (signIn === undefined) return;
  terminal.line();
  terminal.line(`Sign in, once, until ${timeText(signIn.until)}:`);
  terminal.line(`  ${signIn.url}`);
  const there = state === DEFAULT_STATE ? '' : ` --state ${state}`;
  terminal.line(`Another link: interlock sign-in-link${there}`);
}

/** Sets the trust domain up where the state holds none. Throws `usage` where its name is needed, `conflict` for another one. */
async function setUpOnce(
  state: string | Place,
  settings: Settings,
  timers: Timers,
  log: ServerLog,
): Promise<void> {
  if (typeof state === 'string') return setUpHere(state, state, settings, timers, log);
  const { name } = state;
  // Of control planes that start at once on an empty database one does it, and the others find it done.
  await state.exclusively(() => setUpHere(state, `the database ${name}`, settings, timers, log));
}

async function setUpHere(
  state: string | Place,
  where: string,
  settings: Settings,
  timers: Timers,
  log: ServerLog,
): Promise<void> {
  const { domainOf, setUp, DEFAULT_AUTHORITY_TTL } = await import('../../server/index.ts');
  const wanted = settings['trust-domain'];
  const there = await domainOf(state);
  if (there !== undefined) {
    if (wanted === undefined || wanted === there.trustDomain) return;
    throw new InterlockError(
      'conflict',
      where,
      `${where} holds the trust domain ${there.trustDomain}, not ${wanted}: leave --trust-domain out, or choose another ${typeof state === 'string' ? '--state' : '--database'}`,
    );
  }
  // A child's state is set up by its parent.
  if (settings.parent !== undefined) return;
  if (wanted === undefined)
    throw new InterlockError(
      'usage',
      '--trust-domain',
      `${where} holds no trust domain yet: name it, such as --trust-domain example.org; it cannot be changed later`,
    );
  const { checkIssuer } = await import('../../identity/index.ts');
  if (settings.issuer !== undefined) checkIssuer(settings.issuer);
  const domain: Domain = {
    trustDomain: wanted,
    algorithm: settings['key-type'] ?? 'ec-p256',
    authorityTtl: settings['authority-ttl'] ?? DEFAULT_AUTHORITY_TTL,
    root: 'self',
    ...(settings.issuer === undefined ? {} : { issuer: settings.issuer }),
  };
  if (domain.authorityTtl < 3_600_000)
    throw new InterlockError('usage', '--authority-ttl', 'an authority lives for an hour at least');
  const who = `uid:${process.getuid?.() ?? 'unknown'}`;
  const slot = await setUp({ state, domain, who, timers });
  log.info({ trustDomain: wanted, authority: slot.id, state: where }, 'the trust domain was set up');
}

import { InterlockError } from '../../../access/index.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm } from '../../../identity/index.ts';
import { type CommandSpec, type CommonOptions, Option, trustDomainOption } from '../../command.ts';
import { durationOption } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';
import { timeAndDistance } from '../../control/words.ts';

interface Options extends CommonOptions {
  readonly trustDomain: string;
  readonly keyType: KeyAlgorithm;
  readonly ttl?: number;
  readonly offlineRoot?: string;
  readonly rootTtl: number;
  readonly issuer?: string;
}

const DAY = 86_400_000;

/** `interlock authority init`: a new trust domain. */
export const authorityInitCommand: CommandSpec<Options> = {
  name: 'authority init',
  summary: 'Set up the authority of a new trust domain in the state directory.',
  options: [
    new Option('--trust-domain <name>', 'its name; it cannot be changed later')
      .argParser(trustDomainOption)
      .makeOptionMandatory(),
    new Option('--key-type <type>', 'kind of key of the authorities; ml-dsa-65 works in few clients yet')
      .choices(Object.keys(KEY_ALGORITHMS))
      .default('ec-p256'),
    new Option(
      '--ttl <duration>',
      'life of an authority (default: 30d; 365d under an offline root)',
    ).argParser(durationOption),
    new Option(
      '--offline-root <dir>',
      'make the root in this directory, to be kept offline; the state gets an intermediate only',
    ),
    new Option('--root-ttl <duration>', 'life of an offline root')
      .argParser(durationOption)
      .default(3650 * DAY, '3650d'),
    new Option('--issuer <url>', 'the "iss" of JWT-SVIDs: the public https address of the OpenID endpoint'),
  ],
  example: 'interlock authority init --trust-domain example.org',
  json: '{trustDomain, authority: {id, notAfter}, root: "self" or "offline", offlineRoot?}',
  async run({ terminal, now }, _args, options) {
    const { checkIssuer } = await import('../../../identity/index.ts');
    const { realTimers, setUp } = await import('../../../server/index.ts');
    if (options.issuer !== undefined) checkIssuer(options.issuer);
    const { offlineRoot, trustDomain } = options;
    const authorityTtl = options.ttl ?? (offlineRoot === undefined ? 30 * DAY : 365 * DAY);
    if (authorityTtl < 3_600_000)
      throw new InterlockError('usage', '--ttl', 'an authority lives for an hour at least');
    const domain = {
      trustDomain,
      algorithm: options.keyType,
      authorityTtl,
      root: offlineRoot === undefined ? ('self' as const) : ('offline' as const),
      ...(options.issuer === undefined ? {} : { issuer: options.issuer }),
    };
    const slot = await setUp({
      state: options.state,
      domain,
      who: `uid:${process.getuid?.() ?? 'unknown'}`,
      timers: { ...realTimers, now },
      offlineRoot: offlineRoot === undefined ? undefined : { dir: offlineRoot, ttl: options.rootTtl },
    });
    if (options.json) {
      const authority = { id: slot.id, notAfter: slot.notAfter };
      terminal.json({ trustDomain, authority, root: domain.root, offlineRoot });
      return EXIT.done.code;
    }
    terminal.prose(`The trust domain ${trustDomain} has its authority in ${options.state}.`);
    terminal.table(
      [
        ['authority', slot.id],
        ['key', KEY_ALGORITHMS[options.keyType].label],
        ['ends', timeAndDistance(slot.notAfter, now())],
      ],
      { heading: false },
    );
    if (offlineRoot !== undefined)
      terminal.prose(
        `The root's key is in ${offlineRoot}: move that directory to a place without a network now.`,
      );
    if (options.keyType === 'ml-dsa-65' || options.keyType === 'ed25519')
      terminal.prose(
        `JWT-SVIDs have no algorithm for ${KEY_ALGORITHMS[options.keyType].label}: they are signed with ECDSA P-256.`,
      );
    terminal.prose(`Serve it with: interlock authority serve --state ${options.state}`);
    return EXIT.done.code;
  },
};

import {
  type Firewall,
  FIREWALLS,
  type Interception,
  interceptOff,
  interceptOn,
  interceptStatus,
  type Where,
} from '../../proxy/index.ts';
import { type CommandSpec, type CommonOptions, InvalidArgumentError, Option } from '../command.ts';
import { EXIT } from '../exit.ts';

interface PlaceOptions extends CommonOptions {
  readonly namespace?: string;
  readonly host?: true;
  readonly firewall?: Firewall;
}

interface OnOptions extends PlaceOptions {
  readonly outboundPort?: number;
  readonly inbound?: readonly { readonly port: number; readonly to: number }[];
  readonly uid?: readonly string[];
  readonly gid?: readonly string[];
  readonly cgroup?: readonly string[];
  readonly excludeUid?: readonly string[];
  readonly excludeGid?: readonly string[];
  readonly excludeCgroup?: readonly string[];
  readonly excludeCidr?: readonly string[];
  readonly excludePort?: readonly number[];
  readonly ipv4Only?: true;
}

const NAMESPACE = new Option(
  '--namespace <name>',
  'a network namespace of "ip netns", or a path such as /proc/PID/ns/net (default: this one)',
);
const HOST = new Option('--host', 'the network namespace of the machine itself is meant');

const many = (flags: string, text: string) =>
  new Option(flags, `${text}; may be repeated`).argParser(
    // What commander gives for the first one is not in its types.
    (value: string, before: readonly string[] | undefined) => [...(before ?? []), ...value.split(',')],
  );

/** `interlock intercept on`: redirects connections to a proxy. */
export const interceptOnCommand: CommandSpec<OnOptions> = {
  name: 'intercept on',
  summary:
    'Redirect connections to the node proxy of this machine, in the firewall\'s own table "interlock". Replaces what was intercepted before.',
  options: [
    NAMESPACE,
    HOST,
    new Option('--firewall <which>', 'default: nft where it is installed').choices(FIREWALLS),
    new Option(
      '--outbound-port <port>',
      'where the proxy takes outbound connections: "intercept.listen" of its file',
    ).argParser(portOption),
    new Option(
      '--inbound <port:to>',
      'a port whose connections from outside go to another one; may be repeated',
    ).argParser(inboundOption),
    many('--uid <uid>', 'whose outbound connections, by user or FROM-TO (default: everybody)'),
    many('--gid <gid>', 'whose, by group'),
    many('--cgroup <path>', 'whose, by cgroup of version 2, such as system.slice/cart.service'),
    many('--exclude-uid <uid>', "never these users': the proxy's own"),
    many('--exclude-gid <gid>', "never these groups'"),
    many('--exclude-cgroup <path>', "never these cgroups'"),
    many('--exclude-cidr <cidr>', 'never to these addresses'),
    new Option('--exclude-port <port>', 'never to this port; may be repeated').argParser(
      (text: string, before: readonly number[] | undefined) => [...(before ?? []), portOption(text)],
    ),
    new Option('--ipv4-only', 'leave IPv6 alone (default: both, and the proxy listens on both)'),
  ],
  example: 'interlock intercept on --host --outbound-port 15001 --exclude-uid 0',
  json: '{on: true, firewall}',
  async run({ terminal }, _args, options) {
    const firewall = await interceptOn(planOf(options), whereOf(options));
    if (options.json) terminal.json({ on: true, firewall });
    else
      terminal.line(
        `New connections are redirected (${firewall}). "interlock intercept off" ends it; those that are open now stay as they are.`,
      );
    return EXIT.done.code;
  },
};

/** `interlock intercept off`: takes all of it away. */
export const interceptOffCommand: CommandSpec<PlaceOptions> = {
  name: 'intercept off',
  summary: 'Take away everything that "intercept on" made, and nothing else.',
  options: [NAMESPACE, HOST],
  example: 'interlock intercept off --host',
  json: '{on: false}',
  async run({ terminal }, _args, options) {
    await interceptOff(whereOf(options));
    if (options.json) terminal.json({ on: false });
    else terminal.line('Nothing is redirected any more.');
    return EXIT.done.code;
  },
};

/** `interlock intercept status`: what is redirected now. */
export const interceptStatusCommand: CommandSpec<PlaceOptions> = {
  name: 'intercept status',
  summary: 'Show what is redirected now, in the words of the firewall.',
  options: [NAMESPACE],
  example: 'interlock intercept status',
  json: '{on, firewall, rules: [line]}',
  async run({ terminal }, _args, options) {
    const status = await interceptStatus(whereOf(options));
    if (options.json) terminal.json(status);
    else if (!status.on) terminal.line('Nothing is redirected.');
    else for (const rule of status.rules) terminal.line(rule);
    return EXIT.done.code;
  },
};

export const INTERCEPT_COMMANDS = [
  interceptOnCommand,
  interceptOffCommand,
  interceptStatusCommand,
] as readonly CommandSpec<never>[];

function planOf(options: OnOptions): Interception {
  const { outboundPort, inbound = [], uid = [], gid = [], cgroup = [] } = options;
  const {
    excludeUid = [],
    excludeGid = [],
    excludeCgroup = [],
    excludeCidr = [],
    excludePort = [],
  } = options;
  return {
    ...(outboundPort === undefined ? {} : { outboundPort }),
    inbound,
    only: { users: uid, groups: gid, cgroups: cgroup },
    except: {
      users: excludeUid,
      groups: excludeGid,
      cgroups: excludeCgroup,
      cidrs: excludeCidr,
      ports: excludePort,
    },
    ipv4Only: options.ipv4Only === true,
  };
}

function whereOf({ namespace, host, firewall }: PlaceOptions): Where {
  return { namespace, host: host === true, firewall };
}

function portOption(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port < 1 || port > 65_535)
    throw new InvalidArgumentError('a port is a number from 1 to 65535');
  return port;
}

function inboundOption(
  text: string,
  before: readonly { port: number; to: number }[] = [],
): { port: number; to: number }[] {
  const [port, to, ...rest] = text.split(':');
  if (port === undefined || to === undefined || rest.length > 0)
    throw new InvalidArgumentError('it is written PORT:TO, such as 5432:8443');
  return [...before, { port: portOption(port), to: portOption(to) }];
}

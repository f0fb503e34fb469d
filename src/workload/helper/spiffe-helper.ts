/** How spiffe-helper names its options, and how ours are called (its README, "Configuration"). */
const NAMES: ReadonlyMap<string, string> = new Map([
  ['cert_dir', 'dir'],
  ['svid_file_name', 'certificate'],
  ['svid_key_file_name', 'key'],
  ['svid_bundle_file_name', 'bundle'],
  ['jwt_bundle_file_name', 'jwtBundle'],
  ['renew_signal', 'signal'],
  ['pid_file_name', 'pidFile'],
  ['add_intermediates_to_bundle', 'intermediatesInBundle'],
  ['include_federated_domains', 'federated'],
  ['hint', 'hint'],
  ['cert_file_mode', 'certificateMode'],
  ['key_file_mode', 'keyMode'],
  ['jwt_svid_file_mode', 'jwtMode'],
  ['jwt_bundle_file_mode', 'bundleMode'],
]);

type Options = Readonly<Record<string, unknown>>;

/** Options with spiffe-helper's names as ours; all others as they are. */
export function translated(options: Options): Map<string, unknown> {
  const ours = new Map<string, unknown>();
  for (const [name, value] of Object.entries(options)) {
    const others = special(name, value, options);
    if (others === undefined) ours.set(NAMES.get(name) ?? name, value);
    else for (const [known, of] of Object.entries(others)) ours.set(known, of);
  }
  return ours;
}

/** Options that are not only named otherwise; undefined for what is none of them. */
function special(name: string, value: unknown, options: Options): Options | undefined {
  switch (name) {
    case 'agent_address':
      // A bare path of the agent's socket.
      return { endpoint: typeof value === 'string' && value.startsWith('/') ? `unix://${value}` : value };
    case 'daemon_mode':
      return { once: value === false };
    case 'cmd':
      return value === '' ? {} : { command: [value, ...wordsOf(options.cmd_args)] };
    case 'cmd_args':
      return {};
    case 'jwt_svids':
      return { jwt: Array.isArray(value) ? value.map(jwtOf) : value };
    case 'health_checks':
      return isOptions(value) ? healthOf(value) : { healthPort: value };
    default:
      return undefined;
  }
}

/** Words as spiffe-helper parts them: at spaces, except between quotes. No shell sees them. */
export function wordsOf(args: unknown): string[] {
  if (typeof args !== 'string') return [];
  const parts = args.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g);
  return [...parts].map(([, double, single, bare]) => double ?? single ?? bare ?? '');
}

function jwtOf(entry: unknown): unknown {
  if (!isOptions(entry) || entry.jwt_audience === undefined) return entry;
  const extra = Array.isArray(entry.jwt_extra_audiences) ? (entry.jwt_extra_audiences as unknown[]) : [];
  return { audience: [entry.jwt_audience, ...extra], file: entry.jwt_svid_file_name };
}

function healthOf(checks: Options): Options {
  if (checks.listener_enabled !== true) return {};
  return {
    healthPort: checks.bind_port ?? 8081,
    ...(checks.liveness_path === undefined ? {} : { livePath: checks.liveness_path }),
    ...(checks.readiness_path === undefined ? {} : { readyPath: checks.readiness_path }),
  };
}

function isOptions(value: unknown): value is Options {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

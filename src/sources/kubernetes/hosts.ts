/** A host that a text names, with the port written next to it or fixed by its URL's scheme. */
export interface NamedHost {
  readonly host: string;
  readonly port?: number;
}

/** One setting of a workload or a key of a config map. */
export interface Variable {
  readonly name: string;
  readonly value: string;
}

/** Longest value that is searched, in UTF-16 units; a config map holds at most 1 MiB (Kubernetes' own limit). */
const MAX_VALUE_LENGTH = 1_048_576;
/** Most hosts taken from one value: more is a list of data, not a configuration. */
const MAX_HOSTS_OF_A_VALUE = 500;

/** RFC 1035 section 2.3.4 and RFC 1123 section 2.1; an underscore is tolerated, as compose files have it. */
const HOST = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})?(\.[a-z0-9_]([a-z0-9_-]{0,62})?)*\.?$/i;
const IPV4 = /^\d{1,3}(\.\d{1,3}){3}$/;
/** Ports that a URL without one means (RFC 9110 section 4.2, RFC 6455 section 3). */
const SCHEME_PORTS = new Map([
  ['http', 80],
  ['https', 443],
  ['ws', 80],
  ['wss', 443],
]);
/** Where a bare `host:port` may begin and end; elsewhere it is a part of something else, as in an image's name. */
const BEFORE = /[\s"'`,;=@([{|<>!&]/;
const AFTER = /[\s"'`,;/?&)\]}|<>#\\]/;
const AUTHORITY_END = /[/?#\s"'`<>)\]}|;\\]/;

/** Names of variables that hold an address alone, and what is taken off for the name of the port beside it. */
const ADDRESS_NAME =
  /^(.+_)(SERVICE_HOST|HOST|HOSTNAME|HOST_NAME|ADDR|ADDRESS|ENDPOINT|URL|URI|SERVICE|SERVER)$/;
/** These say "service" without saying "address": they count only beside a port. */
const NEEDS_PORT = new Set(['SERVICE', 'SERVER']);
/** A workload's own address, not one that it calls. */
const OWN_ADDRESS = /(^|_)(LISTEN|LISTENER|LISTENERS|LISTENING|BIND|ADVERTISE|ADVERTISED)(_|$)/;

/** Hosts that the variables name: in URLs and `host:port` forms, and bare in an address variable. */
export function hostsOfVariables<V extends Variable>(
  variables: readonly V[],
): { variable: V; host: NamedHost }[] {
  const byName = new Map(variables.map(({ name, value }) => [settingName(name), value]));
  return variables.flatMap((variable) => {
    const name = settingName(variable.name);
    if (OWN_ADDRESS.test(name)) return [];
    const bare = bareHost(name, variable.value.trim(), byName);
    const hosts = bare === undefined ? hostsOfText(variable.value) : [bare];
    return hosts.map((host) => ({ variable, host }));
  });
}

/** Hosts in URLs (`redis://redis-cart:6379/0`, `jdbc:mysql://db:3306/x`) and `host:port` forms, each once. */
export function hostsOfText(text: string): NamedHost[] {
  const found = new Map<string, NamedHost>();
  const searched = text.slice(0, MAX_VALUE_LENGTH);
  for (let colon = searched.indexOf(':'); colon >= 0 && found.size < MAX_HOSTS_OF_A_VALUE; ) {
    let next = colon + 1;
    if (searched.startsWith('//', next)) {
      const url = readAuthority(searched, colon);
      for (const host of url.hosts) found.set(`${host.host}:${host.port ?? ''}`, host);
      next = url.end;
    } else {
      const host = readPair(searched, colon);
      if (host !== undefined) found.set(`${host.host}:${host.port}`, host);
    }
    colon = searched.indexOf(':', next);
  }
  return [...found.values()];
}

/** The hosts of the URL whose scheme ends at `colon`; user and password are passed over and kept nowhere. */
function readAuthority(text: string, colon: number): { hosts: NamedHost[]; end: number } {
  const start = colon + 3;
  let end = start;
  while (end < text.length && !AUTHORITY_END.test(text[end] as string)) {
    // "http://a,http://b" is two URLs, "mongodb://a:1,b:2" is one.
    if (text[end] === ',' && /^,[a-z][a-z0-9+.-]{0,31}:\/\//i.test(text.slice(end, end + 36))) break;
    end++;
  }
  const scheme = /[a-z][a-z0-9+.-]{0,31}$/i.exec(text.slice(Math.max(0, colon - 32), colon))?.[0] ?? '';
  const authority = text.slice(start, end);
  const implied = SCHEME_PORTS.get(scheme.toLowerCase());
  const hosts = authority
    .slice(authority.lastIndexOf('@') + 1)
    .split(',', MAX_HOSTS_OF_A_VALUE)
    .flatMap((part) => hostAndPort(part, implied) ?? []);
  return { hosts, end };
}

function hostAndPort(part: string, implied: number | undefined): NamedHost | undefined {
  const colon = part.indexOf(':');
  const host = callable(colon < 0 ? part : part.slice(0, colon));
  if (host === undefined) return undefined;
  const port = colon < 0 ? implied : portOf(part.slice(colon + 1));
  if (port === undefined) return colon < 0 ? { host } : undefined;
  return { host, port };
}

/** The `host:port` around a colon, where nothing before or after makes it a part of something else. */
function readPair(text: string, colon: number): NamedHost | undefined {
  let end = colon + 1;
  while (end < colon + 7 && isDigit(text.charCodeAt(end))) end++;
  const port = portOf(text.slice(colon + 1, end));
  if (port === undefined) return undefined;
  let start = colon;
  while (start > 0 && colon - start < 255 && /[a-z0-9._-]/i.test(text[start - 1] as string)) start--;
  const before = text[start - 1];
  const after = text[end];
  // gRPC's names have an empty authority: dns:///orders:50051.
  const rooted = text.slice(Math.max(0, start - 2), start) === '//';
  if (before !== undefined && !rooted && !BEFORE.test(before)) return undefined;
  // Oracle's form is jdbc:oracle:thin:@host:port:sid.
  if (after !== undefined && !AFTER.test(after) && !(after === ':' && before === '@')) return undefined;
  const host = callable(text.slice(start, colon));
  return host === undefined ? undefined : { host, port };
}

function bareHost(name: string, value: string, byName: ReadonlyMap<string, string>): NamedHost | undefined {
  const match = ADDRESS_NAME.exec(name);
  const host = match === null ? undefined : callable(value);
  if (match === null || host === undefined) return undefined;
  const [, base = '', suffix = ''] = match;
  for (const beside of [`${base}PORT`, `${base}SERVICE_PORT`, `${name}_PORT`]) {
    const port = portOf(byName.get(beside)?.trim() ?? '');
    if (port !== undefined) return { host, port };
  }
  return NEEDS_PORT.has(suffix) ? undefined : { host };
}

/** The host in lower case when it is one that can be called: not an own address such as localhost or 0.0.0.0. */
function callable(text: string): string | undefined {
  if (!HOST.test(text)) return undefined;
  const host = text.toLowerCase().replace(/\.$/, '');
  if (host === 'localhost' || host.endsWith('.localhost')) return undefined;
  if (IPV4.test(host)) return host.startsWith('127.') || host.startsWith('0.') ? undefined : host;
  return /[a-z]/.test(host) ? host : undefined;
}

function portOf(text: string): number | undefined {
  if (!/^\d{1,5}$/.test(text)) return undefined;
  const port = Number(text);
  return port >= 1 && port <= 65_535 ? port : undefined;
}

/** `redis.host`, `redis-host` and `redisHost` as REDIS_HOST. */
function settingName(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/[.-]+/g, '_')
    .toUpperCase();
}

const isDigit = (code: number) => code >= 0x30 && code <= 0x39;

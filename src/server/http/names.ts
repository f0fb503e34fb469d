import { InterlockError } from '../../access/index.ts';

/** Where an HTTP server listens, and what it is called by those who call it. */
export interface NamesOptions {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
  /** Its public address, where that is another one: a name, or a reverse proxy in front of it. */
  readonly url?: URL | undefined;
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/;
const ANY = new Set(['0.0.0.0', '::']);

export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

/**
 * The names that a server answers to. A page of a foreign site can make its own name lead to this machine (DNS
 * rebinding): its calls then come with that name as "Host", and are refused.
 */
export class Names {
  /** The address for links and redirects. */
  readonly origin: string;
  readonly isHttps: boolean;
  readonly #origins: ReadonlyMap<string, string>;

  /** Throws `usage` where nobody could say how the server is called. */
  constructor({ host, port, isTls, url }: NamesOptions) {
    const scheme = isTls ? 'https' : 'http';
    const hosts = isLoopback(host) ? [host, '127.0.0.1', 'localhost', '::1'] : ANY.has(host) ? [] : [host];
    const own = hosts.map(
      (name) => new URL(`${scheme}://${name.includes(':') ? `[${name}]` : name}:${port}`),
    );
    const all = url === undefined ? own : [url, ...own];
    const [first] = all;
    if (first === undefined)
      throw new InterlockError(
        'usage',
        '--http-url',
        `--http ${host}:${port} is every address of this machine: say with --http-url how it is called, such as https://interlock.example.com`,
      );
    this.origin = first.origin;
    this.isHttps = first.protocol === 'https:';
    this.#origins = new Map(all.map(({ host, origin }) => [host, origin]).toReversed() as [string, string][]);
  }

  /** The origin of a "Host", or undefined for one that is none of its names. */
  originOf(host: string | undefined): string | undefined {
    if (host === undefined || host.length > 300) return undefined;
    const name = host.toLowerCase();
    // The port of the scheme is written or left out.
    return this.#origins.get(name) ?? this.#origins.get(name.replace(/:(80|443)$/, ''));
  }
}

import { normalizePath } from '../../src/policy/index.ts';
import { receivedPath } from './backends.ts';
import type { TestAuthority } from './certificates.ts';
import type { ListenerSpec } from './envoy-config.ts';
import { renderRules } from './rendered.ts';
import { requestBytes, sendRaw } from './raw-client.ts';

/** Paths that programs have disagreed about: dots and slashes, escapes, parameters, queries, odd characters. */
export const NASTY_PATHS: readonly string[] = [
  ...words(String.raw`
    / /a /a/ /a/b // //a /a//b /a/// ///a//b/// /./ /../ /. /.. /a/. /a/.. /a/./b /a/../b /a/b/../../c /../../a
    /a//../b /a/..//b /a//.. /a/... /a/.b /a/b. /// /.// /a/../ /a/..// /\ /a\b /\..\a /a\..\b /\/.`),
  ...words(`
    /%2e /%2E%2e/a /a/%2e%2E/b /a/.%2e/b /%2e%2f /a%2fb /a%2Fb /a%5cb /a%5Cb /%61 /%41dmin /%7e /%7Euser /%2d%5f /%30
    /a%20b /a%3bb /a%3Bb /a%3fb /a%23b /a%25b /a%252fb /%25%36%31 /a%40b /a%5bb%5D /a% /a%2 /a%zz /a%00b /a%0ab
    /a%1f /a%7f /a%80 /a%c3%a9 /a%C3%A9`),
  ...words(`
    /a;b /a;b=c/d /..;/a /a/..;/b /a/..; /a/..;x=1/b /a/.;/b /a/.;x /a/...;/b /a/%2e%2e;/b /a/..%3b/b /a/b..;/c
    /a/..;b;c/d /a;/../b`),
  ...words(
    `/a=b /a*b /* /a'b /a(b) /a,b /a!b /a$b /a&b /a+b /a:b /a@b /a~b /[a] /a?b /a?b/../c /a?b//c /a?b%2fc`,
  ),
  ...words('/a#b /a?b#c /a"b /a<b /a>b /a^b /a`b /a{b} /a|b /a\u00e9b /a\u0080b /a\u0001b a *'),
];

function words(text: string): string[] {
  return text.trim().split(/[ \n]+/);
}

/** One path as both sides see it. `undefined` is a refusal. */
export interface PathRow {
  readonly path: string;
  /** As `normalizePath` makes it. */
  readonly decide: string | undefined;
  /** As it reaches the upstream with nothing but the connection manager's own normalisation. */
  readonly envoy: string | undefined;
  /** The same behind the filters of a policy that allows every request. */
  readonly guarded: string | undefined;
}

const ADDRESS = '127.78.0.1';
const [BARE, GUARDED] = [20_080, 20_081];
const CLIENT = 'spiffe://interop.test/client';

/** A listener that forwards whatever the connection manager lets through, and one with filters before it. */
export function pathListeners(): ListenerSpec[] {
  const any = { name: 'any', from: [{ workload: CLIENT }], to: [{ http: {} }] };
  const { manager, http } = renderRules({ rules: [any] }, false);
  return [
    { address: ADDRESS, port: BARE, http: { manager, filters: [] } },
    { address: ADDRESS, port: GUARDED, http: { manager, filters: http } },
  ];
}

/** What reaches the upstream for each path, beside what `normalizePath` makes of it. */
export async function probePaths(authority: TestAuthority): Promise<PathRow[]> {
  return Promise.all(
    NASTY_PATHS.map(async (path) => {
      const method = path === '*' ? 'OPTIONS' : 'GET';
      const normal = normalizePath(path, method);
      const [envoy, guarded] = await Promise.all(
        [BARE, GUARDED].map((port) => received(authority, port, method, path)),
      );
      return { path, decide: normal.ok ? normal.path : undefined, envoy, guarded };
    }),
  );
}

async function received(authority: TestAuthority, port: number, method: string, path: string) {
  const target = { host: ADDRESS, port, localAddress: '127.1.2.3', identity: authority.leaf(CLIENT) };
  const { status, body } = await sendRaw(target, requestBytes(method, path, 'h'), true);
  // The query is forwarded as it came; decide drops it.
  return status === 200 ? receivedPath(body)?.replace(/\?.*$/s, '') : undefined;
}

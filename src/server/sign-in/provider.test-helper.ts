import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Browser } from '../http/testing.test-helper.ts';
import { CALLBACK_PATH } from './through-provider.ts';
// @ts-expect-error the package has no types
import { Provider as UntypedProvider } from 'oidc-provider';

/** As much of it as is used here. */
type Callback = (request: IncomingMessage, response: ServerResponse) => void;
const Provider = UntypedProvider as new (issuer: string, options: object) => { callback(): Callback };

/** A real OpenID provider in this process. Whoever signs in with any password is that user; groups are as given. */
export interface TestProvider {
  readonly issuer: string;
  /** Groups by subject. */
  readonly groups: Map<string, readonly string[]>;
  readonly server: Server;
  /** Paths that it was asked for, in order. */
  readonly asked: string[];
  /** Answers from now on, and lets the client `interlock` come back to this address. */
  allow(redirectUri: string): void;
  /** Answers every call with a fault from now on. */
  refuse(): void;
  close(): Promise<void>;
}

export async function startProvider(): Promise<TestProvider> {
  let answer: Callback | undefined;
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    answer?.(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const issuer = `http://127.0.0.1:${port}`;
  const groups = new Map<string, readonly string[]>();
  const start = (redirectUri: string) =>
    new Provider(issuer, {
      clients: [
        {
          client_id: 'interlock',
          client_secret: 'a secret of thirty-two characters',
          redirect_uris: [redirectUri],
          grant_types: ['authorization_code'],
          response_types: ['code'],
        },
        {
          client_id: 'interlock-cli',
          token_endpoint_auth_method: 'none',
          redirect_uris: [],
          response_types: [],
          grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
        },
      ],
      features: {
        deviceFlow: { enabled: true },
        revocation: { enabled: true },
        devInteractions: { enabled: true },
      },
      claims: { openid: ['sub', 'groups'] },
      conformIdTokenClaims: false,
      cookies: { keys: ['one key for tests'] },
      ttl: {
        AccessToken: 600,
        IdToken: 600,
        DeviceCode: 600,
        Interaction: 600,
        Session: 600,
        Grant: 600,
        RefreshToken: 600,
      },
      pkce: { required: () => true },
      findAccount: (_: unknown, id: string) => ({
        accountId: id,
        claims: () => ({ sub: id, groups: [...(groups.get(id) ?? [])] }),
      }),
    });
  return {
    issuer,
    groups,
    server,
    asked,
    allow: (redirectUri) => {
      answer = start(redirectUri).callback();
    },
    refuse: () => {
      answer = (_, response) => void response.writeHead(503).end();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const isBack = (url: URL) => url.pathname === CALLBACK_PATH;

/** From the button to the provider, through its forms, and to the address that it leads back to. */
export async function throughProvider(browser: Browser, user: string, to = '/'): Promise<URL> {
  let { url, answer } = await browser.follow(`/v1/sign-in/oidc?to=${encodeURIComponent(to)}`, isBack);
  // The provider asks for the user, then for consent.
  for (let i = 0; i < 4 && !isBack(url); i++) {
    const page = await answer.text();
    const fields: Record<string, string> = page.includes('name="login"')
      ? { login: user, password: 'any' }
      : {};
    const sent = await browser.submit(page, url, fields);
    await sent.answer.body?.cancel();
    const next = new URL(sent.answer.headers.get('location') ?? '', sent.url);
    ({ url, answer } = isBack(next) ? { url: next, answer } : await browser.follow(next.href, isBack));
  }
  if (!isBack(url)) throw new Error(`the provider led to ${url.href}`);
  return url;
}

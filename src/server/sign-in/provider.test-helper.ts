import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
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
  /** Answers from now on, and lets the client `interlock` come back to this address. */
  allow(redirectUri: string): void;
  close(): Promise<void>;
}

export async function startProvider(): Promise<TestProvider> {
  let answer: Callback | undefined;
  const server = createServer((request, response) => answer?.(request, response));
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
    allow: (redirectUri) => {
      answer = start(redirectUri).callback();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

import type { Configuration } from 'openid-client';
import { InterlockError } from '../../access/index.ts';
import type { Timers } from '../timers.ts';
import type { OidcConfig } from './config.ts';
import type { Vouched } from './roles.ts';

/** Loaded where a provider is set up: everybody else does without it. */
const oidcClient = () => import('openid-client');

/** How long the provider may take for one answer, seconds. */
const TIMEOUT_S = 10;
/** How long its settings are used before they are asked for again, milliseconds. */
const FRESH_MS = 3_600_000;
/** How long one that did not answer is not asked for them again, milliseconds: anybody can make us ask. */
const REST_MS = 5000;

/** What binds a sign-in to the browser that began it. */
export interface Begun {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

/** The OpenID Connect provider of people: authorization code with PKCE (RFC 6749, RFC 7636, OpenID Connect Core 1.0). */
export class Provider {
  readonly config: OidcConfig;
  readonly #secret: string | undefined;
  readonly #timers: Timers;
  #known: { readonly client: Configuration; readonly at: number } | undefined;
  #asking: Promise<Configuration> | undefined;
  #failed: { readonly cause: unknown; readonly at: number } | undefined;

  constructor(config: OidcConfig, secret: string | undefined, timers: Timers) {
    this.config = config;
    this.#secret = secret;
    this.#timers = timers;
  }

  /** Where the browser goes, and what it has to bring back. Throws `unavailable`. */
  async begin(redirectUri: string): Promise<{ url: URL; begun: Begun }> {
    const client = await this.client();
    const {
      buildAuthorizationUrl,
      calculatePKCECodeChallenge,
      randomNonce,
      randomPKCECodeVerifier,
      randomState,
    } = await oidcClient();
    const begun = { state: randomState(), nonce: randomNonce(), verifier: randomPKCECodeVerifier() };
    const url = buildAuthorizationUrl(client, {
      redirect_uri: redirectUri,
      scope: this.config.scopes.join(' '),
      state: begun.state,
      nonce: begun.nonce,
      code_challenge: await calculatePKCECodeChallenge(begun.verifier),
      code_challenge_method: 'S256',
    });
    return { url, begun };
  }

  /** Who came back. `address` is the whole URL that the provider led to. Throws `untrusted`, `unavailable`. */
  async finish(address: URL, { state, nonce, verifier }: Begun): Promise<Vouched> {
    const client = await this.client();
    const { authorizationCodeGrant, fetchUserInfo } = await oidcClient();
    try {
      const tokens = await authorizationCodeGrant(client, address, {
        expectedState: state,
        expectedNonce: nonce,
        pkceCodeVerifier: verifier,
        idTokenExpected: true,
      });
      const claims = tokens.claims();
      if (claims === undefined) throw new TypeError('an ID token was expected');
      const { groupsClaim } = this.config;
      const more =
        claims[groupsClaim] === undefined && client.serverMetadata().userinfo_endpoint !== undefined
          ? await fetchUserInfo(client, tokens.access_token, claims.sub)
          : {};
      return { issuer: claims.iss, subject: claims.sub, claims: { ...more, ...claims } };
    } catch (cause) {
      if (isNetworkFault(cause)) throw this.#away(cause);
      throw new InterlockError(
        'untrusted',
        this.config.issuer,
        'the sign-in was not accepted: begin it again, and in one browser',
        { cause },
      );
    }
  }

  /** The provider's settings by discovery: one question for all who wait. Throws `unavailable`. */
  async client(): Promise<Configuration> {
    const known = this.#known;
    const now = this.#timers.now();
    if (known !== undefined && now - known.at < FRESH_MS) return known.client;
    try {
      const failed = this.#failed;
      // A clock that was put back ends the rest.
      if (failed !== undefined && now >= failed.at && now < failed.at + REST_MS) throw failed.cause;
      this.#asking ??= this.#discover().finally(() => {
        this.#asking = undefined;
      });
      return await this.#asking;
    } catch (cause) {
      // Old settings are better than none.
      if (known !== undefined) return known.client;
      throw this.#away(cause);
    }
  }

  async #discover(): Promise<Configuration> {
    const { issuer, clientId } = this.config;
    try {
      const client = await discoverProvider(new URL(issuer), clientId, this.#secret);
      this.#known = { client, at: this.#timers.now() };
      return client;
    } catch (cause) {
      this.#failed = { cause, at: this.#timers.now() };
      throw cause;
    }
  }

  #away(cause: unknown): InterlockError {
    const { issuer } = this.config;
    return new InterlockError('unavailable', issuer, `the provider ${issuer} does not answer as it should`, {
      cause,
    });
  }
}

/** Whether the provider can be asked now: what is wrong, or undefined. */
export async function providerFault(
  config: OidcConfig,
  secret: string | undefined,
): Promise<string | undefined> {
  try {
    await discoverProvider(new URL(config.issuer), config.clientId, secret);
    return undefined;
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
    return `${error instanceof Error ? error.message : String(error)}${cause}`;
  }
}

/** Asks a provider for its settings. Plain http is for one on this machine only: the configuration has said so. */
async function discoverProvider(
  issuer: URL,
  clientId: string,
  secret: string | undefined,
): Promise<Configuration> {
  const { allowInsecureRequests, ClientSecretBasic, discovery, None } = await oidcClient();
  const authentication = secret === undefined ? None() : ClientSecretBasic(secret);
  return discovery(issuer, clientId, undefined, authentication, {
    timeout: TIMEOUT_S,
    ...(issuer.protocol === 'http:' ? { execute: [allowInsecureRequests] } : {}),
  });
}

/** What says nothing about who came back: nobody could be asked. */
function isNetworkFault(cause: unknown): boolean {
  for (let error = cause; error instanceof Error; error = error.cause) {
    if (error instanceof TypeError && error.message === 'fetch failed') return true;
    const code = 'code' in error ? error.code : undefined;
    if (code === 'OAUTH_TIMEOUT' || code === 'OAUTH_ABORT') return true;
  }
  return false;
}

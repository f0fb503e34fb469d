import {
  allowInsecureRequests,
  type Configuration,
  discovery,
  initiateDeviceAuthorization,
  None,
  pollDeviceAuthorizationGrant,
  refreshTokenGrant,
  tokenRevocation,
  type TokenEndpointResponse,
  type TokenEndpointResponseHelpers,
} from 'openid-client';
import { InterlockError } from '../../access/index.ts';
import type { SignedIn } from './sign-in.ts';

type Tokens = TokenEndpointResponse & TokenEndpointResponseHelpers;

/** Where a person goes, on any device, and what to type there. */
export interface Invitation {
  readonly url: string;
  /** The address with the code in it already. */
  readonly direct?: string | undefined;
  readonly code: string;
}

/** Signs a person in whose browser may be elsewhere (RFC 8628). Throws `unavailable`, `untrusted`. */
export async function signInByDevice(
  { issuer, clientId, scopes }: { issuer: URL; clientId: string; scopes: readonly string[] },
  onInvitation: (invitation: Invitation) => void,
): Promise<SignedIn> {
  const client = await clientOf(issuer, clientId);
  try {
    const begun = await initiateDeviceAuthorization(client, { scope: scopes.join(' ') });
    onInvitation({
      url: begun.verification_uri,
      direct: begun.verification_uri_complete,
      code: begun.user_code,
    });
    return keptOf(await pollDeviceAuthorizationGrant(client, begun), issuer, clientId);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new InterlockError('untrusted', issuer.href, `the sign-in was not finished: ${why}`, { cause });
  }
}

/** A new token for one that ends. Undefined where the provider gives none: it is time to sign in again. */
export async function refreshed(signedIn: SignedIn): Promise<SignedIn | undefined> {
  const { issuer, clientId, refreshToken } = signedIn;
  if (issuer === undefined || clientId === undefined || refreshToken === undefined) return undefined;
  const url = new URL(issuer);
  try {
    const tokens = await refreshTokenGrant(await clientOf(url, clientId), refreshToken);
    return keptOf(tokens, url, clientId, refreshToken);
  } catch {
    return undefined;
  }
}

/** Tells the provider that nobody uses the token any more. False where it did not take that. */
export async function revoke({ issuer, clientId, refreshToken }: SignedIn): Promise<boolean> {
  if (issuer === undefined || clientId === undefined || refreshToken === undefined) return true;
  try {
    await tokenRevocation(await clientOf(new URL(issuer), clientId), refreshToken);
    return true;
  } catch {
    return false;
  }
}

async function clientOf(issuer: URL, clientId: string): Promise<Configuration> {
  try {
    return await discovery(issuer, clientId, undefined, None(), {
      timeout: 10,
      ...(issuer.protocol === 'http:' ? { execute: [allowInsecureRequests] } : {}),
    });
  } catch (cause) {
    throw new InterlockError('unavailable', issuer.href, `the provider ${issuer.href} does not answer`, {
      cause,
    });
  }
}

/** The ID token is what the control plane takes: it says who, for whom, and until when. */
function keptOf(tokens: Tokens, issuer: URL, clientId: string, before?: string): SignedIn {
  const claims = tokens.claims();
  if (tokens.id_token === undefined || claims === undefined)
    throw new InterlockError(
      'untrusted',
      issuer.href,
      'the provider gave no ID token: the scope "openid" is missing',
    );
  const refreshToken = tokens.refresh_token ?? before;
  return {
    token: tokens.id_token,
    expiresAt: claims.exp * 1000,
    issuer: issuer.href,
    clientId,
    ...(refreshToken === undefined ? {} : { refreshToken }),
  };
}

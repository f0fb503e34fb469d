import { send } from './client.ts';
import { queryClient } from './query.ts';

/** How one may sign in here beside a link. */
export interface Providers {
  readonly oidc?: { readonly name: string; readonly begin: string };
}

/** What the control plane offers; nothing where it does not say. */
export async function providers(): Promise<Providers> {
  try {
    return (await send('GET', '/v1/sign-in', {})) as Providers; // Only what is there is looked at.
  } catch {
    return {};
  }
}

/** Uses up the secret of a link. Throws `Refusal`. */
export async function exchange(secret: string): Promise<void> {
  await send('POST', '/v1/sign-in/link', { body: { secret } });
  queryClient.clear();
}

/** Ends the session, and shows nothing of it any more. */
export async function signOut(): Promise<void> {
  await send('POST', '/v1/sign-out', { body: {} });
  window.location.assign('/');
}

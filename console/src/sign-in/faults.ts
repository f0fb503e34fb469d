/** Why a sign-in came to nothing, by the word that the control plane puts into the address; as src/server/sign-in has them. */
const FAULTS: Readonly<Record<string, string>> = {
  refused: 'The provider did not let you in, or its answer was not for this browser. Try again.',
  expired: 'This sign-in was begun too long ago, or in another browser. Begin anew.',
  'no-role':
    'You are known to the provider, and have no role here. Ask an operator of this control plane for one.',
  'too-many': 'Too many sign-ins came from your address, or in all. Wait for a minute, and begin anew.',
  'provider-away': 'The provider does not answer. Try again in a moment, or sign in by a link.',
  fault: 'The control plane could not finish the sign-in; its log says why.',
};

/** What to tell somebody who was sent back; nothing where no fault is named. A word that is not known is not shown. */
export function faultText(search: string): string | undefined {
  const fault = new URLSearchParams(search).get('fault');
  if (fault === null || fault === '') return undefined;
  return Object.hasOwn(FAULTS, fault) ? FAULTS[fault] : 'You were not signed in. Try again.';
}

/** Where to go once signed in: a page of this console, and never another site. */
export function pageToReturn(path: string | null): string {
  if (path === null || !/^\/(?![/\\])/.test(path) || /^\/sign-in\b/.test(path)) return '/';
  // A browser reads away what controls there are in an address: what is left could begin with another host.
  return /[\p{Cc}\\]/u.test(path) ? '/' : path;
}

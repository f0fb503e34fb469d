import { useRouter } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { exchange } from '../api/sign-in.ts';
import { takePlace } from './came-from.ts';
import { faultText } from './faults.ts';
import { SignIn } from './sign-in.tsx';

/** A link works once: what it gave is kept, however often the page is drawn. */
let tried: Promise<void> | undefined;

/** Where a link leads: its secret stands behind "#", and leaves the address before anything else happens. */
export default function SignInPage() {
  const { history } = useRouter();
  const [fault, setFault] = useState<Error>();
  // The address says it once: a reload is another try.
  const [sentBack] = useState(() => faultText(window.location.search));
  useEffect(() => {
    const secret = window.location.hash.slice(1);
    if (window.location.hash !== '' || window.location.search !== '')
      window.history.replaceState(null, '', '/sign-in');
    if (secret !== '') tried = exchange(secret);
    tried?.then(
      () => history.replace(takePlace()),
      (error: unknown) => setFault(error instanceof Error ? error : new Error(String(error))),
    );
  }, [history]);
  if (tried !== undefined && fault === undefined)
    return (
      <main style={{ padding: 16 }} className="dim">
        Signing in...
      </main>
    );
  return (
    <SignIn
      back="/"
      {...(fault === undefined ? {} : { fault })}
      {...(sentBack === undefined ? {} : { sentBack })}
    />
  );
}

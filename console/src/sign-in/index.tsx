import { useNavigate } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { exchange } from '../api/sign-in.ts';
import { SignIn } from './sign-in.tsx';

/** A link works once: what it gave is kept, however often the page is drawn. */
let tried: Promise<void> | undefined;

/** Where a link leads: its secret stands behind "#", and leaves the address before anything else happens. */
export default function SignInPage() {
  const navigate = useNavigate();
  const [fault, setFault] = useState<Error>();
  useEffect(() => {
    const secret = window.location.hash.slice(1);
    if (secret !== '') {
      window.history.replaceState(null, '', '/sign-in');
      tried = exchange(secret);
    }
    tried?.then(
      () => navigate({ to: '/', replace: true }),
      (error: unknown) => setFault(error instanceof Error ? error : new Error(String(error))),
    );
  }, [navigate]);
  if (tried !== undefined && fault === undefined)
    return (
      <main style={{ padding: 16 }} className="dim">
        Signing in...
      </main>
    );
  return <SignIn back="/" {...(fault === undefined ? {} : { fault })} />;
}

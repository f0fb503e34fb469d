import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useEffect } from 'react';
import { queryClient } from '../api/query.ts';
import { providers } from '../api/sign-in.ts';
import { Problem } from '../parts/states.tsx';
import { keepPlace } from './came-from.ts';

interface Props {
  /** The page that was wanted. */
  readonly back: string;
  /** Why the link did not. */
  readonly fault?: Error;
  /** Why the provider did not, in words. */
  readonly sentBack?: string;
}

/** How to get in, for who is not. */
export function SignIn({ back, fault, sentBack }: Props) {
  const { data } = useQuery({ queryKey: ['sign-in'], queryFn: providers });
  const to = back === '/' ? '' : `?to=${encodeURIComponent(back)}`;
  useEffect(() => {
    if (back !== '/') keepPlace(back);
  }, [back]);
  useEffect(() => {
    // Whoever has signed in in another window goes on in this one.
    const look = () => {
      if (document.visibilityState === 'visible')
        void queryClient.invalidateQueries({ queryKey: ['me.get'] });
    };
    document.addEventListener('visibilitychange', look);
    window.addEventListener('focus', look);
    return () => {
      document.removeEventListener('visibilitychange', look);
      window.removeEventListener('focus', look);
    };
  }, []);
  return (
    <main style={{ maxWidth: 460, margin: '12vh auto', padding: 16 }} className="stack">
      <h1>Interlock</h1>
      {fault === undefined ? null : <Problem error={fault} />}
      {sentBack === undefined ? null : (
        <div className="banner quiet" role="alert">
          {sentBack}
        </div>
      )}
      {back === '/' ? null : <div>Sign in to go on where you were.</div>}
      {data?.oidc === undefined ? null : (
        <Button component="a" href={`${data.oidc.begin}${to}`}>
          Sign in with {data.oidc.name}
        </Button>
      )}
      <div className="panel stack tight">
        <div>On the machine of the control plane, make a link that signs you in, once:</div>
        <pre className="code">interlock sign-in-link</pre>
        <div className="dim">
          Open it in this browser within ten minutes. "interlock up" prints one when it starts.
        </div>
      </div>
    </main>
  );
}

import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { providers } from '../api/sign-in.ts';
import { Problem } from '../parts/states.tsx';

/** How to get in, for who is not. `fault`: why the link did not. */
export function SignIn({ back, fault }: { readonly back: string; readonly fault?: Error }) {
  const { data } = useQuery({ queryKey: ['sign-in'], queryFn: providers });
  const to = back === '/' ? '' : `?to=${encodeURIComponent(back)}`;
  return (
    <main style={{ maxWidth: 460, margin: '12vh auto', padding: 16 }} className="stack">
      <h1>Interlock</h1>
      {fault === undefined ? null : <Problem error={fault} />}
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

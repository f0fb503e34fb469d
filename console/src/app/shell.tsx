import { AppShell, Burger, Button, Menu, NavLink, UnstyledButton } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, Outlet, useRouterState } from '@tanstack/react-router';
import { useCallback, useState } from 'react';
import { Refusal } from '../api/client.ts';
import { useIsLive, useLiveUpdates } from '../api/live.ts';
import { read } from '../api/query.ts';
import { signOut } from '../api/sign-in.ts';
import { Mark } from '../parts/marks.tsx';
import { Boundary, Problem } from '../parts/states.tsx';
import { setHome } from '../parts/words.ts';
import { SignIn } from '../sign-in/sign-in.tsx';
import { Help } from './help.tsx';
import { PAGES, useKeys } from './keys.ts';
import { ReleasedBanner } from './released.tsx';
import { Search } from './search.tsx';

/** What is around every page. Who is not signed in sees how to. */
export function Shell() {
  const me = useQuery(read('me.get', {}));
  const path = useRouterState({ select: (state) => state.location.pathname });
  if (path === '/sign-in') return <Outlet />;
  if (me.error instanceof Refusal && me.error.status === 401) return <SignIn back={path} />;
  if (me.data === undefined)
    return (
      <main style={{ padding: 16 }}>
        {me.error === null ? (
          <span className="dim">Reading...</span>
        ) : (
          <Problem error={me.error} again={() => void me.refetch()} />
        )}
      </main>
    );
  // Before any name is drawn.
  setHome(me.data.trustDomain);
  return <SignedIn who={me.data.who} path={path} />;
}

function SignedIn({ who, path }: { readonly who: string; readonly path: string }) {
  useLiveUpdates();
  const [open, setOpen] = useState<'search' | 'help' | 'menu'>();
  const onSearch = useCallback(() => setOpen('search'), []);
  const onHelp = useCallback(() => setOpen('help'), []);
  const close = useCallback(() => setOpen(undefined), []);
  useKeys({ onSearch, onHelp });
  return (
    <AppShell
      header={{ height: 42 }}
      navbar={{ width: 150, breakpoint: 'sm', collapsed: { mobile: open !== 'menu' } }}
      padding="sm"
      transitionDuration={0}
    >
      <AppShell.Header px="sm">
        <div className="row spread" style={{ height: '100%', flexWrap: 'nowrap' }}>
          <div className="row" style={{ flexWrap: 'nowrap' }}>
            <Burger
              hiddenFrom="sm"
              size="sm"
              opened={open === 'menu'}
              onClick={() => setOpen(open === 'menu' ? undefined : 'menu')}
              aria-label="Pages"
            />
            <strong>Interlock</strong>
            <Button size="compact-sm" variant="default" onClick={onSearch} visibleFrom="sm">
              Search{' '}
              <span className="dim" style={{ marginLeft: 24 }}>
                /
              </span>
            </Button>
          </div>
          <div className="row" style={{ flexWrap: 'nowrap' }}>
            <Live />
            <Button
              component={Link}
              to="/release"
              size="compact-sm"
              color="red"
              variant="outline"
              className="to-release"
            >
              Release
            </Button>
            <Person who={who} onHelp={onHelp} />
          </div>
        </div>
      </AppShell.Header>
      <AppShell.Navbar p={6} aria-label="Pages">
        {PAGES.map(({ to, label, key }) => (
          <NavLink
            key={to}
            component={Link}
            to={to}
            label={label}
            onClick={close}
            rightSection={<span className="dim">g {key}</span>}
            active={to === '/' ? path === '/' : path === to || path.startsWith(`${to}/`)}
            py={4}
          />
        ))}
      </AppShell.Navbar>
      <AppShell.Main>
        <ReleasedBanner />
        <Boundary at={path}>
          <Outlet />
        </Boundary>
      </AppShell.Main>
      <Search isOpen={open === 'search'} onClose={close} />
      <Help isOpen={open === 'help'} onClose={close} />
    </AppShell>
  );
}

/** Whether what is shown is current. */
function Live() {
  return useIsLive() ? (
    <span className="dim" title="What changes is shown at once">
      live
    </span>
  ) : (
    <span role="status">
      <Mark is="would-deny">not live</Mark>
    </span>
  );
}

function Person({ who, onHelp }: { readonly who: string; readonly onHelp: () => void }) {
  return (
    <Menu position="bottom-end" transitionProps={{ duration: 0 }}>
      <Menu.Target>
        <UnstyledButton fz={13} title={who} className="clip" maw={160}>
          {who}
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item onClick={onHelp}>Keys (?)</Menu.Item>
        <Menu.Item component={Link} to="/settings">
          Settings
        </Menu.Item>
        <Menu.Item onClick={() => void signOut()}>Sign out</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

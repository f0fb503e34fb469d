import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from '@tanstack/react-router';
import { Problem } from '../parts/states.tsx';
import { Shell } from './shell.tsx';

const root = createRootRoute({
  component: Shell,
  notFoundComponent: () => <p>There is no such page. Press g and m for the map.</p>,
  errorComponent: ({ error }) => (
    <Problem error={error instanceof Error ? error : new Error(String(error))} />
  ),
});

type Page = () => Promise<{ default: () => React.ReactNode }>;
const page = <const Path extends string>(path: Path, load: Page) =>
  createRoute({ getParentRoute: () => root, path, component: lazyRouteComponent(load) });

// One piece of script for each page: the first view loads its own.
const routes = root.addChildren([
  page('/', () => import('../map/index.tsx')),
  page('/workloads', () => import('../workloads/index.tsx')),
  page('/workloads/$workload', () => import('../workload/index.tsx')),
  page('/review', () => import('../review/index.tsx')),
  page('/review/$workload', () => import('../review/index.tsx')),
  page('/identities', () => import('../identities/index.tsx')),
  page('/release', () => import('../release/index.tsx')),
  page('/audit', () => import('../audit/index.tsx')),
  page('/settings', () => import('../settings/index.tsx')),
  page('/sign-in', () => import('../sign-in/index.tsx')),
]);

export const router = createRouter({ routeTree: routes, defaultPreload: 'intent', scrollRestoration: true });

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}

import '@mantine/core/styles.css';
import '@mantine/notifications/styles.css';
import './app/styles.css';
import { MantineProvider } from '@mantine/core';
import { Notifications } from '@mantine/notifications';
import { QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { graphRead, queryClient, read } from './api/query.ts';
import { router } from './app/router.tsx';
import { theme } from './app/theme.ts';
import { layoutThread } from './map/layout-thread.ts';

// The control plane says one for each page, and takes no other style that a script makes.
const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce;
// The map is what most come for: what it needs is on its way while the scripts that draw it still are.
void queryClient.prefetchQuery(read('me.get', {}));
if (window.location.pathname === '/') {
  void queryClient.prefetchQuery(graphRead);
  layoutThread();
}
const root = document.getElementById('root');
if (root === null) throw new TypeError('the page has no place for the console');
createRoot(root).render(
  <StrictMode>
    <MantineProvider theme={theme} defaultColorScheme="auto" getStyleNonce={() => nonce ?? ''}>
      <Notifications position="bottom-right" />
      <QueryClientProvider client={queryClient}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);

import { useEffect, useSyncExternalStore } from 'react';
import type { EventType, RouteName } from '../../../src/api/index.ts';
import { ROUTES } from '../../../src/api/paths.ts';
import { queryClient } from './query.ts';

/** The reads that an event makes old. */
const CONCERNS: Readonly<Record<EventType, readonly RouteName[]>> = {
  rollout: [
    'rollouts.list',
    'rollouts.get',
    'workloads.list',
    'workloads.get',
    'policies.list',
    'graph.get',
    'preflight.get',
  ],
  release: ['releases.list', 'workloads.list', 'workloads.get', 'graph.get'],
  point: ['points.list', 'workloads.list', 'workloads.get', 'preflight.get'],
  flip: ['flips.list', 'workloads.list', 'workloads.get', 'graph.get', 'preflight.get'],
  access: ['accesses.list', 'graph.get', 'workloads.list', 'workloads.get', 'proposals.get', 'readiness.get'],
  identity: ['identities.list', 'authorities.list', 'revocations.list', 'agents.list', 'status.get'],
  proposal: ['proposals.get', 'reviews.list', 'reviews.get', 'workloads.list'],
  audit: ['audit.list'],
  reset: Object.keys(ROUTES) as RouteName[], // Its keys are the names.
};

let isConnected = false;
const listeners = new Set<() => void>();

function setConnected(now: boolean): void {
  if (isConnected === now) return;
  isConnected = now;
  for (const listener of listeners) listener();
}

/** Keeps what is shown current while mounted. The browser itself connects again, and says which event was its last. */
export function useLiveUpdates(): void {
  useEffect(() => {
    const source = new EventSource(ROUTES['events.stream'].path);
    source.addEventListener('open', () => setConnected(true));
    source.addEventListener('error', () => setConnected(false));
    for (const [type, routes] of Object.entries(CONCERNS)) {
      source.addEventListener(type, () => {
        for (const name of routes) void queryClient.invalidateQueries({ queryKey: [name] });
      });
    }
    return () => {
      source.close();
      setConnected(false);
    };
  }, []);
}

/** Whether what is shown follows what happens. */
export function useIsLive(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => isConnected,
  );
}

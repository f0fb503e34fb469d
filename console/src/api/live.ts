import { useEffect, useSyncExternalStore } from 'react';
import type { EventType, RouteName } from '../../../src/api/index.ts';
import { ROUTES } from '../../../src/api/paths.ts';
import { Again } from './again.ts';
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
    'reviews.list',
    'reviews.get',
    'readiness.get',
    'history.get',
    'exceptions.list',
  ],
  release: ['releases.list', 'workloads.list', 'workloads.get', 'graph.get'],
  point: ['points.list', 'workloads.list', 'workloads.get', 'preflight.get'],
  flip: ['flips.list', 'workloads.list', 'workloads.get', 'graph.get', 'preflight.get'],
  access: [
    'accesses.list',
    'graph.get',
    'workloads.list',
    'workloads.get',
    'proposals.get',
    'readiness.get',
    'handshakes.get',
  ],
  identity: [
    'identities.list',
    'authorities.list',
    'revocations.list',
    'agents.list',
    'cutovers.list',
    'status.get',
  ],
  proposal: [
    'proposals.get',
    'reviews.list',
    'reviews.get',
    'workloads.list',
    'preflight.get',
    'readiness.get',
  ],
  audit: ['audit.list', 'history.get'],
  replica: ['replicas.list'],
  reset: Object.keys(ROUTES) as RouteName[], // Its keys are the names.
};

/** What says whether a workload is released, and is read as a whole. */
const RELEASE_SHOWN: readonly RouteName[] = ['workloads.list', 'workloads.get'];

/** Read before the first stream stands. */
const READ_EARLY: readonly RouteName[] = ['graph.get', 'releases.list'];
const EARLY_MS = 2000;

const again = new Again({
  read: (name) => queryClient.invalidateQueries({ queryKey: [name] }),
  now: () => performance.now(),
  after: (ms, run) => void setTimeout(run, ms),
});

let isConnected = false;
const listeners = new Set<() => void>();

function setConnected(now: boolean): void {
  if (isConnected === now) return;
  isConnected = now;
  for (const listener of listeners) listener();
}

/** How long until a stream that the control plane has refused is asked for again, milliseconds. */
const AGAIN_MS = 3000;

/**
 * Keeps what is shown current while mounted. The browser itself connects again, and says which event was its last. Where
 * the stream was refused it does not: then it is asked who one is (the session may have ended), and for another stream.
 */
export function useLiveUpdates(): void {
  useEffect(() => {
    let source: EventSource | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let early: ReturnType<typeof setTimeout> | undefined;
    const connect = (isAgain: boolean) => {
      const stream = new EventSource(ROUTES['events.stream'].path);
      source = stream;
      stream.addEventListener('open', () => {
        setConnected(true);
        // What was missed meanwhile is not known. The first time that is little, and the first view comes first.
        if (isAgain) for (const name of CONCERNS.reset) again.isOld(name);
        else early = setTimeout(() => READ_EARLY.forEach((name) => again.isOld(name)), EARLY_MS);
      });
      stream.addEventListener('error', () => {
        setConnected(false);
        if (stream.readyState !== EventSource.CLOSED) return;
        void queryClient.invalidateQueries({ queryKey: ['me.get'] });
        timer = setTimeout(() => connect(true), AGAIN_MS);
      });
      for (const [type, routes] of Object.entries(CONCERNS)) {
        stream.addEventListener(type, () => {
          // Kept from an earlier look, it would say for a moment that what was released is enforced.
          if (type === 'release')
            for (const name of RELEASE_SHOWN)
              queryClient.removeQueries({ queryKey: [name], type: 'inactive' });
          for (const name of routes) again.isOld(name);
        });
      }
    };
    connect(false);
    return () => {
      clearTimeout(timer);
      clearTimeout(early);
      source?.close();
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

import type { Place, ServerLog, Timers } from '../../server/index.ts';
import type { Settings } from './settings.ts';

/** Where the state is by the settings, and by whose clock it lives. Whoever opens it closes it. */
export interface OpenPlace {
  readonly place: Place | undefined;
  readonly timers: Timers;
  close(): Promise<void>;
}

/** Opens the database of the settings; a state directory alone is opened by who serves it. Throws `usage`, `untrusted`, `unavailable`. */
export async function openPlace(
  settings: Settings,
  dir: string,
  timers: Timers,
  log: Pick<ServerLog, 'warn'>,
): Promise<OpenPlace> {
  const { database: url, 'key-file': keyFile } = settings;
  if (url === undefined) return { place: undefined, timers, close: async () => {} };
  const { databaseClock, openDatabasePlace } = await import('../../server/index.ts');
  const place = await openDatabasePlace({ dir, url, keyFile });
  try {
    const clock = await databaseClock(place, timers, (message) => log.warn({}, message));
    return {
      place,
      timers: clock.timers,
      async close() {
        clock.stop();
        await place.close();
      },
    };
  } catch (error) {
    await place.close();
    throw error;
  }
}

import { afterEach } from 'vitest';
import { openPostgresStores, type PostgresOptions, type PostgresStores } from './open.ts';

const opened = new Set<PostgresStores>();

/** Opens stores that are closed after the test, whatever became of it. */
export async function openStores(url: string, options: PostgresOptions = {}): Promise<PostgresStores> {
  const stores = await openPostgresStores(url, { connections: 4, ...options });
  opened.add(stores);
  return stores;
}

/** To be called once in each file of tests that uses {@link openStores}. */
export function closeAfterEach(): void {
  afterEach(async () => {
    const all = [...opened];
    opened.clear();
    await Promise.all(all.map((stores) => stores.close()));
  });
}

import type { PostgresOptions, PostgresStores } from './open.ts';

/** As {@link file://./open.ts} says. The driver is loaded when it is needed: most commands never see a database. */
export async function openPostgresStores(
  url: string,
  options: PostgresOptions = {},
): Promise<PostgresStores> {
  const { openPostgresStores: open } = await import('./open.ts');
  return open(url, options);
}

/** As {@link file://./open.ts} says. */
export async function lookAtPostgres(
  url: string,
): Promise<{ readonly name: string; readonly version: number; readonly newest: number }> {
  const { lookAtPostgres: look } = await import('./open.ts');
  return look(url);
}

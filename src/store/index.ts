export { openSqliteStore, type SqliteOptions, STATE_FILE } from './sqlite/open.ts';
export type * from './store.ts';

export { openSqliteStore, type SqliteOptions, STATE_FILE } from './sqlite/open.ts';
export type * from './store.ts';
export * from './live.ts';
export { type LiveStoreOptions, openLiveStore } from './sqlite/live/live-store.ts';
export { TRUST_DOMAIN_SETTING } from './settings.ts';
export { openIdentityStore } from './sqlite/identity/identity-store.ts';
export { IDENTITY_FILE, type IdentityStoreOptions } from './sqlite/identity/open.ts';
export * from './identity-store.ts';
export { type AuditEntry, type AuditFault, canonicalJson, type NewAuditEntry } from './audit.ts';

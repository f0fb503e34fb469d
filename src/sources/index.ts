export { readRecordings } from './reading/read.ts';
export type * from './reading/outcome.ts';
export * from './source.ts';
export { SOURCES } from './sources.ts';

export { readRecordings } from './read.ts';
export type * from './reading.ts';
export * from './source.ts';
export { SOURCES } from './sources.ts';

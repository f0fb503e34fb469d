export * from './documents.ts';
export * from './strict.ts';

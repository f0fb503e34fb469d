export * from './cutover.ts';

export * from './blind-spots.ts';
export * from './calendar.ts';
export { coverageOf } from './coverage.ts';
export * from './cron.ts';
export * from './poisson.ts';
export * from './readiness.ts';
export * from './surprises.ts';
export * from './units.ts';

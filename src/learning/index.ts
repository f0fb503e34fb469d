export * from './templates/index.ts';
export * from './propose/index.ts';
export * from './readiness/index.ts';
export { accessUnits } from './access-units.ts';

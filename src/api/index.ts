// Without the schemas: the command line starts without them, and the console is built without them.
export * from './paths.ts';
export * from './roles.ts';
export * from './words.ts';
export type { Answer, CallOf, Checked, Received } from './schemas/index.ts';
export type { RolloutShown } from './schemas/enforcement.ts';
export type { AccessShown, WorkloadShown } from './schemas/estate.ts';

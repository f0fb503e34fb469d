export { type HelperConfig, helperConfig, type HelperInput, readHelperFile } from './config.ts';
export { FileSet, type Owner, type SetFile } from './file-set.ts';
export { Helper, type HelperEvents, type Written } from './helper.ts';
export type { Health } from './health.ts';
export { ownerOf } from './owner.ts';

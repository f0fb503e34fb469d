/** Where the state is when no `--state` is given. */
export const DEFAULT_STATE = '.interlock';

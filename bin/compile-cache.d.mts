export function keepCompiled(root: string): void;
export function privateCache(folder: string, uid: number | undefined): string | undefined;

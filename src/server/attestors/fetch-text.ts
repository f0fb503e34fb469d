import { readFile } from 'node:fs/promises';
import { InterlockError } from '../../access/index.ts';
import type { FetchText } from '../../identity/index.ts';
import { ask } from './ask.ts';

/**
 * Gets small texts over HTTPS, as issuers of tokens publish their keys. Without `caFile` the public authorities count.
 * Redirects are not followed. Throws `unavailable`, `limit`, `io`.
 */
export function textFetcher(caFile?: string): FetchText {
  return async (address) => {
    const ca = caFile === undefined ? undefined : await readText(caFile);
    const { status, text } = await ask({ url: new URL(address), ca });
    if (status === 200) return text;
    throw new InterlockError('unavailable', address, `${address} answered ${status}`);
  };
}

/** A file's text. Throws `io` with its name. */
export async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new InterlockError('io', file, `${file} cannot be read`, { cause });
  }
}

import { InterlockError } from '../../access/index.ts';

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 1024 * 1024;

/** A small text over HTTPS, as issuers of tokens publish their keys. Redirects are not followed. Throws `unavailable`, `limit`. */
export async function fetchText(url: string): Promise<string> {
  try {
    const response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (response.status !== 200)
      throw new InterlockError('unavailable', url, `${url} answered ${response.status}`);
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of response.body ?? []) {
      size += chunk.length;
      if (size > MAX_BYTES)
        throw new InterlockError('limit', url, `the answer of ${url} is larger than 1 MiB`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString();
  } catch (cause) {
    if (cause instanceof InterlockError) throw cause;
    throw new InterlockError('unavailable', url, `${url} cannot be fetched`, { cause });
  }
}

import { InterlockError } from '../../access/index.ts';

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 1024 * 1024;

/** A small document of an issuer. Redirects are not followed. Throws `unavailable`, `limit`. */
export async function fetchText(address: string): Promise<string> {
  let answer: Response;
  try {
    answer = await fetch(address, { redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (cause) {
    throw new InterlockError('unavailable', address, `${address} does not answer`, { cause });
  }
  if (!answer.ok) {
    await answer.body?.cancel();
    throw new InterlockError('unavailable', address, `${address} answered ${answer.status}`);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_BYTES) throw new InterlockError('limit', address, `${address} is larger than 1 MiB`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

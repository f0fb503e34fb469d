import { fault, MORE, type ProxyRead, V1_SIGNATURE, V2_SIGNATURE } from './header.ts';
import { readV1 } from './v1.ts';
import { readV2 } from './v2.ts';

/** Reads a PROXY header of either version from the first bytes of a connection. Gives `fault` for anything else. */
export function readProxyHeader(bytes: Buffer): ProxyRead {
  switch (signatureOf(bytes)) {
    case 'v1':
      return readV1(bytes);
    case 'v2':
      return readV2(bytes);
    case 'more':
      return MORE;
    default:
      return fault('no PROXY header where one is due');
  }
}

/** Which version the bytes begin with; `more` where they are too few to tell; undefined for neither. */
export function signatureOf(bytes: Buffer): 'v1' | 'v2' | 'more' | undefined {
  if (startsWith(bytes, V1_SIGNATURE)) return bytes.length < V1_SIGNATURE.length ? 'more' : 'v1';
  if (startsWith(bytes, V2_SIGNATURE)) return bytes.length < V2_SIGNATURE.length ? 'more' : 'v2';
  return undefined;
}

/** As far as there are bytes. */
function startsWith(bytes: Buffer, signature: Buffer): boolean {
  const length = Math.min(bytes.length, signature.length);
  return bytes.compare(signature, 0, length, 0, length) === 0;
}

import type { Json } from './types.ts';

/**
 * Fields of TcpProxy that Envoy 1.37 and newer have and the bundled .proto files do not: connect to the program when
 * the caller's first bytes have come, which the RBAC filter before has judged by then. An older Envoy passes over them
 * in what comes over xDS, and connects at once.
 */
export const CONNECT_WHEN_JUDGED: Json = {
  upstream_connect_mode: 'ON_DOWNSTREAM_DATA',
  max_early_data_bytes: 65_536,
};

/** The same in the wire format: field 21, an enum, is 1; field 22 is a UInt32Value of 65536. */
const BYTES = Uint8Array.of(0xa8, 0x01, 0x01, 0xb2, 0x01, 0x04, 0x08, 0x80, 0x80, 0x04);

/** The JSON without those fields, and whether it had them. */
export function withoutNewer(json: unknown): { readonly json: unknown; readonly hadThem: boolean } {
  let hadThem = false;
  const visit = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(visit);
    if (typeof value !== 'object' || value === null) return value;
    if ('upstream_connect_mode' in value) hadThem = true;
    const kept = Object.entries(value).filter(([key]) => !Object.hasOwn(CONNECT_WHEN_JUDGED, key));
    return Object.fromEntries(kept.map(([key, inner]) => [key, visit(inner)]));
  };
  return { json: visit(json), hadThem };
}

/** A message of TcpProxy with those fields behind its own. */
export function withNewer(value: Uint8Array): Uint8Array {
  const all = new Uint8Array(value.length + BYTES.length);
  all.set(value);
  all.set(BYTES, value.length);
  return all;
}

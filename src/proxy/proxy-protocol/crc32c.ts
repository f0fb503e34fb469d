/** CRC-32C (Castagnoli, reflected polynomial 0x82F63B78; RFC 3720 appendix B.4). node:zlib has only the other one. */
const TABLE = new Uint32Array(256);
for (let n = 0; n < 256; n++) {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = (c & 1) === 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  TABLE[n] = c;
}

/** The checksum as an unsigned number. */
export function crc32c(bytes: Uint8Array): number {
  let c = 0xffff_ffff;
  for (const byte of bytes) c = (c >>> 8) ^ (TABLE[(c ^ byte) & 255] as number);
  return (c ^ 0xffff_ffff) >>> 0;
}

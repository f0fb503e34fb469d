export { decodeOid, encodeOid, OID, type OidKey, oidKey } from './oid.ts';
export { bufferOf, DerError, DerReader, TAG } from './reader.ts';
export { MAX_TIME, readTime, time, timeDigits } from './time.ts';
export {
  bitString,
  DerWriter,
  element,
  integer,
  NULL,
  octetString,
  oid,
  sequence,
  set,
  TRUE,
  utf8String,
} from './writer.ts';

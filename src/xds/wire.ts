// The messages of discovery.proto, read and written field by field. A proxy sends its whole node with every request,
// where it is not told otherwise, and an answer is made of bytes that a thousand streams share: neither is worth an
// object each time.
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { InterlockError, isInterlockError } from '../access/index.ts';
import { clip, type Limits } from './limits.ts';

/** A request of either protocol. */
export interface AdsRequest {
  /** A Node message, encoded. */
  readonly node: Uint8Array | undefined;
  readonly typeUrl: string;
  readonly nonce: string;
  /** Why the proxy refused the answer with this nonce: its words. */
  readonly refusal: string | undefined;
  /** State of the world: the version that the proxy has. */
  readonly version: string;
  /** State of the world: all names; delta: the names to add. */
  readonly names: readonly string[];
  /** Delta: names to take away. */
  readonly unsubscribe: readonly string[];
  /** Delta: the versions that the proxy kept from a stream before, by name. */
  readonly known: ReadonlyMap<string, string>;
}

/** Numbers of the fields of DiscoveryRequest and DeltaDiscoveryRequest (discovery.proto). */
interface RequestFields {
  readonly node: number;
  readonly typeUrl: number;
  readonly nonce: number;
  readonly refusal: number;
  readonly names: number;
  readonly version?: number;
  readonly unsubscribe?: number;
  readonly known?: number;
}

/** DiscoveryRequest. */
export const WHOLE_REQUEST: RequestFields = {
  version: 1,
  node: 2,
  names: 3,
  typeUrl: 4,
  nonce: 5,
  refusal: 6,
};
/** DeltaDiscoveryRequest. */
export const DELTA_REQUEST: RequestFields = {
  node: 1,
  typeUrl: 2,
  names: 3,
  unsubscribe: 4,
  known: 5,
  nonce: 6,
  refusal: 7,
};

/** Reads a request. Throws `invalid_document` for bytes that are none, `limit` for one that is too large. */
export function readRequest(bytes: Uint8Array, fields: RequestFields, limits: Limits): AdsRequest {
  if (bytes.length > limits.requestBytes)
    throw new InterlockError('limit', 'request', `a request has at most ${limits.requestBytes} bytes`);
  try {
    return requestOf(bytes, fields, limits);
  } catch (cause) {
    if (isInterlockError(cause)) throw cause;
    throw new InterlockError('invalid_document', 'request', 'the bytes are no discovery request', { cause });
  }
}

function requestOf(bytes: Uint8Array, fields: RequestFields, limits: Limits): AdsRequest {
  const reader = new BinaryReader(bytes);
  const names: string[] = [];
  const unsubscribe: string[] = [];
  const known = new Map<string, string>();
  const request = {
    node: undefined as Uint8Array | undefined,
    typeUrl: '',
    nonce: '',
    refusal: undefined as string | undefined,
    version: '',
  };
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (wireType !== WireType.LengthDelimited) reader.skip(wireType, field);
    else if (field === fields.names) names.push(nameOf(reader, names.length, limits));
    else if (field === fields.node) request.node = reader.bytes();
    else if (field === fields.typeUrl) request.typeUrl = reader.string();
    else if (field === fields.nonce) request.nonce = reader.string();
    else if (field === fields.refusal) request.refusal = refusalOf(reader.bytes(), limits);
    else if (field === fields.version) request.version = reader.string();
    else if (field === fields.unsubscribe) unsubscribe.push(nameOf(reader, unsubscribe.length, limits));
    else if (field === fields.known) {
      const [name, version] = entryOf(reader.bytes());
      if (known.size >= limits.names) throw tooMany(limits);
      known.set(checkedName(name, limits), checkedName(version, limits));
    } else reader.skip(wireType, field);
  }
  return { ...request, names, unsubscribe, known };
}

function nameOf(reader: BinaryReader, before: number, limits: Limits): string {
  if (before >= limits.names) throw tooMany(limits);
  return checkedName(reader.string(), limits);
}

function checkedName(name: string, { nameLength }: Limits): string {
  if (name.length <= nameLength) return name;
  throw new InterlockError('limit', clip(name, 80), `a resource's name has at most ${nameLength} characters`);
}

/** Refuses more names than one type of a stream may have. */
export function tooMany({ names }: Limits): InterlockError {
  return new InterlockError('limit', 'names', `a stream asks for at most ${names} names of a type`);
}

/** An entry of a map of strings: 1 is the key, 2 the value. */
function entryOf(bytes: Uint8Array): [string, string] {
  const reader = new BinaryReader(bytes);
  const entry: [string, string] = ['', ''];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if ((field === 1 || field === 2) && wireType === WireType.LengthDelimited)
      entry[field - 1] = reader.string();
    else reader.skip(wireType, field);
  }
  return entry;
}

/** The message of a google.rpc.Status, field 2, as long as we keep it. */
function refusalOf(bytes: Uint8Array, limits: Limits): string {
  const reader = new BinaryReader(bytes);
  let words = '';
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 2 && wireType === WireType.LengthDelimited) words = reader.string();
    else reader.skip(wireType, field);
  }
  return clip(words, limits.refusalLength);
}

/** google.protobuf.Any: 1 is the type, 2 the bytes. */
function any(writer: BinaryWriter, typeUrl: string, value: Uint8Array): BinaryWriter {
  return writer
    .tag(1, WireType.LengthDelimited)
    .string(typeUrl)
    .tag(2, WireType.LengthDelimited)
    .bytes(value);
}

/** Field 2, `resources`, of a DiscoveryResponse. */
export function wholeField(typeUrl: string, value: Uint8Array): Uint8Array {
  const writer = new BinaryWriter().tag(2, WireType.LengthDelimited).fork();
  return any(writer, typeUrl, value).join().finish();
}

/** Field 2, `resources`, of a DeltaDiscoveryResponse: a Resource with 1 version, 2 the Any, 3 the name. */
export function deltaField(name: string, version: string, typeUrl: string, value: Uint8Array): Uint8Array {
  const writer = new BinaryWriter().tag(2, WireType.LengthDelimited).fork();
  writer.tag(3, WireType.LengthDelimited).string(name).tag(1, WireType.LengthDelimited).string(version);
  return any(writer.tag(2, WireType.LengthDelimited).fork(), typeUrl, value).join().join().finish();
}

/** Everything of an answer but its resources. */
export interface AnswerHead {
  readonly typeUrl: string;
  readonly version: string;
  readonly nonce: string;
  readonly removed: readonly string[];
}

/** A DiscoveryResponse or DeltaDiscoveryResponse: their first fields have the same numbers (1 version, 4 type, 5 nonce, 6 removed). */
export function writeAnswer(head: AnswerHead, resources: readonly Uint8Array[]): Uint8Array {
  const writer = new BinaryWriter()
    .tag(1, WireType.LengthDelimited)
    .string(head.version)
    .tag(4, WireType.LengthDelimited)
    .string(head.typeUrl)
    .tag(5, WireType.LengthDelimited)
    .string(head.nonce);
  for (const name of head.removed) writer.tag(6, WireType.LengthDelimited).string(name);
  return Buffer.concat([writer.finish(), ...resources]);
}

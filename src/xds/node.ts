import { fromBinary, toJson } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { StructSchema } from '@bufbuild/protobuf/wkt';
import { InterlockError, isInterlockError, type SpiffeId } from '../access/index.ts';
import type { Limits } from './limits.ts';

/** JSON, as a node's metadata holds it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Who asks. Only `spiffeId` is proven; the rest is what the proxy says of itself. */
export interface ProxyNode {
  readonly spiffeId: SpiffeId;
  readonly id: string;
  readonly cluster: string;
  readonly metadata: { readonly [key: string]: Json };
  /** Its program and version, such as "envoy 1.36.2"; empty where it says none. */
  readonly userAgent: string;
}

/** The name and version fields of Node (base.proto) and of what is in it. */
const NODE = { id: 1, cluster: 2, metadata: 3, agent: 6, agentVersion: 7, agentBuild: 8 } as const;

/** Reads a Node message. Throws `invalid_document`, or `limit` where it is too large. */
export function nodeOf(bytes: Uint8Array, spiffeId: SpiffeId, limits: Limits): ProxyNode {
  try {
    return readNode(bytes, spiffeId, limits);
  } catch (cause) {
    if (isInterlockError(cause)) throw cause;
    throw new InterlockError('invalid_document', spiffeId, 'the request has no readable node', { cause });
  }
}

function readNode(bytes: Uint8Array, spiffeId: SpiffeId, limits: Limits): ProxyNode {
  const reader = new BinaryReader(bytes);
  const text = { id: '', cluster: '', agent: '', version: '' };
  let metadata: ProxyNode['metadata'] = {};
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (wireType !== WireType.LengthDelimited) reader.skip(wireType, field);
    else if (field === NODE.id) text.id = short(reader.string(), 'node.id', limits);
    else if (field === NODE.cluster) text.cluster = short(reader.string(), 'node.cluster', limits);
    else if (field === NODE.metadata) metadata = metadataOf(reader.bytes(), limits);
    else if (field === NODE.agent) text.agent = short(reader.string(), 'node.user_agent_name', limits);
    else if (field === NODE.agentVersion)
      text.version = short(reader.string(), 'node.user_agent_version', limits);
    else if (field === NODE.agentBuild) text.version = semanticVersion(reader.bytes());
    else reader.skip(wireType, field);
  }
  if (text.id === '')
    throw new InterlockError('usage', spiffeId, 'the first request of a stream needs node.id');
  return {
    spiffeId,
    id: text.id,
    cluster: text.cluster,
    metadata,
    userAgent: [text.agent, text.version].filter((part) => part !== '').join(' '),
  };
}

function short(value: string, field: string, { nameLength }: Limits): string {
  if (value.length <= nameLength) return value;
  throw new InterlockError('limit', field, `${field} has at most ${nameLength} characters`);
}

function metadataOf(bytes: Uint8Array, { metadataBytes, metadataDepth }: Limits): ProxyNode['metadata'] {
  if (bytes.length > metadataBytes)
    throw new InterlockError('limit', 'node.metadata', `node.metadata has at most ${metadataBytes} bytes`);
  // A level of JSON is up to three messages (Struct, its entry, Value); protobuf-es itself stops at a hundred.
  const json = toJson(StructSchema, fromBinary(StructSchema, bytes)) as ProxyNode['metadata'];
  return copyOf(json, metadataDepth) as ProxyNode['metadata'];
}

/** The values themselves, without what a key such as "__proto__" may have brought along. */
function copyOf(value: Json, left: number): Json {
  if (typeof value !== 'object' || value === null) return value;
  if (left === 0) throw new InterlockError('limit', 'node.metadata', 'node.metadata nests too deep');
  if (Array.isArray(value)) return value.map((each: Json) => copyOf(each, left - 1));
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, copyOf(each, left - 1)]));
}

/** BuildVersion: 1 is a SemanticVersion of the numbers 1, 2 and 3. */
function semanticVersion(bytes: Uint8Array): string {
  const build = new BinaryReader(bytes);
  const numbers: [number, number, number] = [0, 0, 0];
  while (build.pos < build.len) {
    const [field, wireType] = build.tag();
    if (field !== 1 || wireType !== WireType.LengthDelimited) {
      build.skip(wireType, field);
      continue;
    }
    const version = new BinaryReader(build.bytes());
    while (version.pos < version.len) {
      const [part, type] = version.tag();
      if (part >= 1 && part <= 3 && type === WireType.Varint) numbers[part - 1] = version.uint32();
      else version.skip(type, part);
    }
  }
  return numbers.join('.');
}

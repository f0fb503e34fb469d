import { createHash } from 'node:crypto';
import { type Message, toBinary } from '@bufbuild/protobuf';
import { InterlockError } from '../access/index.ts';
import { type References, referencesOf } from './references.ts';
import { RESOURCE_TYPES, type Kind, type ResourceType, typeOfMessage } from './types.ts';
import { deltaField, wholeField } from './wire.ts';

/** What a proxy has of a name: at least which version. */
export interface Held {
  readonly version: string;
}

/** One resource, encoded once and shared by all streams that carry it. */
export interface Resource extends Held {
  readonly type: ResourceType;
  readonly name: string;
  /** A hash of its bytes: the same from any control plane, before and after a restart. */
  readonly version: string;
  readonly references: References;
  /** As a field of a state-of-the-world answer, and of a delta answer. */
  readonly whole: Uint8Array;
  readonly delta: Uint8Array;
}

/**
 * The resource of a message: Cluster, ClusterLoadAssignment, Listener, RouteConfiguration or Secret. The same content is
 * to be built in the same order, or its version differs. Throws `invalid_document` for other messages, and without a name.
 */
export function resourceOf(message: Message): Resource {
  const type = typeOfMessage(message);
  if (type === undefined) throw invalid(message.$typeName, 'is not a resource that xDS serves here');
  const name = (message as Message & Readonly<Record<string, unknown>>)[type.nameField];
  if (typeof name !== 'string' || name === '') throw invalid(message.$typeName, 'has no name');
  const value = toBinary(type.schema, message);
  const version = hash(value);
  const references = referencesOf(message);
  let delta: Uint8Array | undefined;
  const whole = wholeField(type.url, value);
  return {
    type,
    name,
    version,
    references,
    whole,
    get delta() {
      delta ??= deltaField(name, version, type.url, value);
      return delta;
    },
  };
}

/** The resources of one type, complete. Whoever is sent the same set shares it. */
export interface ResourceSet {
  readonly type: ResourceType;
  /** A hash of the names and versions in it. */
  readonly version: string;
  readonly resources: ReadonlyMap<string, Resource>;
}

/** Everything that one proxy is to have. */
export interface Snapshot {
  /** Grows with every change of the state that it was made from; the same number means the same state to all proxies. */
  readonly version: number;
  readonly byType: ReadonlyMap<Kind, ResourceSet>;
  /** The proxy is to answer even where nothing changed for it: a drill. */
  readonly prove: boolean;
}

export interface SnapshotOptions {
  /** The proxy's snapshot before: sets of it that are the same are used again. */
  readonly previous?: Snapshot | undefined;
  readonly prove?: boolean;
}

/** The complete set of one proxy's resources. Throws `conflict` where two of a type have the same name. */
export function snapshotOf(
  version: number,
  resources: Iterable<Resource>,
  { previous, prove = false }: SnapshotOptions = {},
): Snapshot {
  const maps = new Map<Kind, Map<string, Resource>>(RESOURCE_TYPES.map(({ kind }) => [kind, new Map()]));
  for (const resource of resources) {
    const { type, name } = resource;
    const map = maps.get(type.kind);
    if (map?.has(name))
      throw new InterlockError('conflict', name, `there are two ${type.kind} resources "${name}"`);
    map?.set(name, resource);
  }
  const byType = new Map<Kind, ResourceSet>();
  for (const type of RESOURCE_TYPES) {
    const made = setOf(type, maps.get(type.kind) ?? new Map());
    const before = previous?.byType.get(type.kind);
    byType.set(type.kind, before?.version === made.version ? before : made);
  }
  return { version, byType, prove };
}

/** A set of these resources. */
export function setOf(type: ResourceType, resources: ReadonlyMap<string, Resource>): ResourceSet {
  return { type, resources, version: versionOf(resources) };
}

/** The version of a set: the same for the same names and versions, in any order. */
export function versionOf(resources: ReadonlyMap<string, Held>): string {
  const lines = [...resources].map(([name, { version }]) => `${name}\0${version}\n`);
  return hash(lines.toSorted().join(''));
}

/** Two sets with the same names and versions. */
export function isSame(a: ReadonlyMap<string, Held>, b: ReadonlyMap<string, Held>): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [name, { version }] of a) if (b.get(name)?.version !== version) return false;
  return true;
}

/** 128 bits are enough to tell apart what one control plane ever serves. */
export function hash(content: Uint8Array | string): string {
  return createHash('sha256').update(content).digest().subarray(0, 16).toString('base64url');
}

function invalid(what: string, why: string): InterlockError {
  return new InterlockError('invalid_document', what, `the message ${what} ${why}`);
}

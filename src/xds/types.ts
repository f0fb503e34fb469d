import type { DescMessage, Message } from '@bufbuild/protobuf';
import { cluster, endpoint, listener, route } from '../proto/envoy/index.ts';
import { secret } from '../proto/index.ts';

/** The kinds of resources that are served, by the name of the service that serves each in the xDS documents. */
export const KINDS = ['cds', 'eds', 'lds', 'rds', 'sds'] as const;
export type Kind = (typeof KINDS)[number];

/** One row of the table of resource types. */
export interface ResourceType {
  readonly kind: Kind;
  /** As `type_url` says it. */
  readonly url: string;
  readonly schema: DescMessage;
  /** The field of the message that holds the resource's name. */
  readonly nameField: string;
  /**
   * A request that never named anything asks for everything, and an answer of the state-of-the-world protocol holds
   * every resource asked for, so that what is missing is gone ("How the client specifies what resources to return",
   * "Grouping resources into responses").
   */
  readonly isRoot: boolean;
  /** What refers to this type: a resource goes only after these have been confirmed without it. */
  readonly usedBy: readonly Kind[];
}

const PREFIX = 'type.googleapis.com/';

function row(
  kind: Kind,
  schema: DescMessage,
  isRoot: boolean,
  usedBy: readonly Kind[],
  nameField = 'name',
): ResourceType {
  return { kind, url: PREFIX + schema.typeName, schema, nameField, isRoot, usedBy };
}

/**
 * Every type that is served, in the order in which changes are sent: what is referred to before what refers to it
 * (xDS protocol, "Eventual consistency considerations").
 */
export const RESOURCE_TYPES: readonly ResourceType[] = [
  row('cds', cluster.ClusterSchema, true, ['lds', 'rds']),
  row('eds', endpoint.ClusterLoadAssignmentSchema, false, ['cds'], 'clusterName'),
  row('lds', listener.ListenerSchema, true, []),
  row('rds', route.RouteConfigurationSchema, false, ['lds']),
  row('sds', secret.SecretSchema, false, ['cds', 'lds']),
];

const BY_URL = new Map(RESOURCE_TYPES.map((type) => [type.url, type]));
const BY_KIND = new Map(RESOURCE_TYPES.map((type) => [type.kind, type]));

/** The type with this URL, if it is served. */
export function typeOfUrl(url: string): ResourceType | undefined {
  return BY_URL.get(url);
}

/** The type of this kind. */
export function typeOfKind(kind: Kind): ResourceType {
  // The table has a row for each kind.
  return BY_KIND.get(kind) as ResourceType;
}

/** The type of a message, if it is a resource. */
export function typeOfMessage(message: Message): ResourceType | undefined {
  return BY_URL.get(PREFIX + message.$typeName);
}

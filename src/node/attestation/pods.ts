import { InterlockError } from '../../access/index.ts';

/** The kubelet runs 110 pods on a node by default, and people have gone to a few times that. */
const MAX_PODS = 5000;
const MAX_CONTAINERS = 256;
const MAX_LABELS = 1024;
const MAX_TEXT = 4096;

/** A container of a pod as its status names it. */
export interface PodContainer {
  readonly name: string;
  /** The runtime's, without its `containerd://`; absent until the status has it. */
  readonly id?: string;
  readonly image: string;
  readonly imageId?: string;
}

/** A pod of this node. */
export interface Pod {
  readonly uid: string;
  /** The UID that the node knows a static pod by, where the API server's differs. */
  readonly staticUid?: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly nodeName: string;
  readonly labels: Readonly<Record<string, string>>;
  /** KIND:NAME of each owner. */
  readonly owners: readonly string[];
  readonly containers: readonly PodContainer[];
}

/** The pods of a PodList's JSON; what is no pod is left out. Throws `invalid_document` when it is no list. */
export function parsePods(text: string): Pod[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (cause) {
    throw new InterlockError('invalid_document', 'pods', 'the list of pods is not JSON', { cause });
  }
  const items = field(list, 'items');
  if (items === null || (items === undefined && field(list, 'kind') === 'PodList')) return [];
  if (!Array.isArray(items)) {
    throw new InterlockError('invalid_document', 'pods', 'the list of pods has no "items"');
  }
  if (items.length > MAX_PODS) {
    throw new InterlockError('limit', 'pods', `the list of pods is longer than ${MAX_PODS}`);
  }
  return items.flatMap((item) => podOf(item) ?? []);
}

function podOf(item: unknown): Pod | undefined {
  const metadata = field(item, 'metadata');
  const spec = field(item, 'spec');
  const [uid, name, namespace] = [
    string(metadata, 'uid'),
    string(metadata, 'name'),
    string(metadata, 'namespace'),
  ];
  if (uid === undefined || name === undefined || namespace === undefined) return undefined;
  const annotations = field(metadata, 'annotations');
  const staticUid =
    string(annotations, 'kubernetes.io/config.mirror') ?? string(annotations, 'kubernetes.io/config.hash');
  return {
    uid,
    ...(staticUid === undefined ? {} : { staticUid }),
    name,
    namespace,
    // The API server fills in "default"; a static pod has none.
    serviceAccount: string(spec, 'serviceAccountName') ?? 'default',
    nodeName: string(spec, 'nodeName') ?? '',
    labels: strings(field(metadata, 'labels')),
    owners: list(metadata, 'ownerReferences').flatMap((owner) => {
      const [kind, ownerName] = [string(owner, 'kind'), string(owner, 'name')];
      return kind === undefined || ownerName === undefined ? [] : [`${kind}:${ownerName}`];
    }),
    containers: ['containerStatuses', 'initContainerStatuses', 'ephemeralContainerStatuses'].flatMap((kind) =>
      list(field(item, 'status'), kind).flatMap((status) => containerOf(status) ?? []),
    ),
  };
}

function containerOf(status: unknown): PodContainer | undefined {
  const name = string(status, 'name');
  if (name === undefined) return undefined;
  const id = /^[a-z0-9.-]+:\/\/([0-9a-f]{64})$/.exec(string(status, 'containerID') ?? '')?.[1];
  const imageId = string(status, 'imageID');
  return {
    name,
    ...(id === undefined ? {} : { id }),
    image: string(status, 'image') ?? '',
    ...(imageId === undefined || imageId === '' ? {} : { imageId }),
  };
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  // Own properties of what JSON.parse gave.
  return (value as Record<string, unknown>)[name];
}

function string(value: unknown, name: string): string | undefined {
  const text = field(value, name);
  return typeof text === 'string' && text !== '' && text.length <= MAX_TEXT ? text : undefined;
}

function list(value: unknown, name: string): unknown[] {
  const items = field(value, name);
  return Array.isArray(items) ? items.slice(0, MAX_CONTAINERS) : [];
}

/** The texts of an object's own fields, in an object without a prototype: names are outside input. */
export function strings(value: unknown): Record<string, string> {
  const texts = Object.create(null) as Record<string, string>;
  if (typeof value !== 'object' || value === null) return texts;
  for (const [name, text] of Object.entries(value).slice(0, MAX_LABELS)) {
    if (typeof text === 'string' && text.length <= MAX_TEXT && name.length <= MAX_TEXT) texts[name] = text;
  }
  return texts;
}

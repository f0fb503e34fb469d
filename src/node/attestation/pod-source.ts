import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { InterlockError } from '../../access/index.ts';
import { get } from './http-get.ts';
import { type Pod, type PodContainer, parsePods } from './pods.ts';

const MAX_LIST_BYTES = 64 * 1024 * 1024;
const MAX_CREDENTIAL_BYTES = 1024 * 1024;
const ANSWER_MS = 5000;
/** A list younger than this is not fetched again for a pod that it holds: labels may have changed since. */
const FRESH_MS = 5000;
/** Containers appear in the list a little after they start: how often and how long to look again. */
const RETRY_MS = 500;
const RETRIES = 20;
/** Between two requests, whoever waits: a process in a container that no list has would have it asked for without end. */
const LEAST_PAUSE_MS = 250;

/** What is known of a container that is looked for. */
export interface PodQuery {
  readonly podUid?: string | undefined;
  readonly containerId?: string | undefined;
  readonly containerName?: string | undefined;
}

/** A container with its pod. */
export interface FoundContainer {
  readonly pod: Pod;
  readonly container: PodContainer;
}

/** Answers which container of this node's pods it is; undefined when none is. Throws `unavailable` and others. */
export interface PodSource {
  find(query: PodQuery): Promise<FoundContainer | undefined>;
}

/** How the list of this node's pods is asked for. */
export interface PodListOptions {
  /** `https://NODE:10250/pods` of the kubelet, or `https://API/api/v1/pods?fieldSelector=spec.nodeName=NODE`. */
  readonly url: string;
  /** Read again at each request: tokens are replaced while the agent runs. */
  readonly tokenFile?: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** The name in the certificate, for a kubelet that is asked at 127.0.0.1 and has only the node's. */
  readonly serverName?: string;
  /** False to take any certificate, for a kubelet with one that it signed itself; only on the loopback interface. */
  readonly verify?: boolean;
  readonly now: () => number;
  /** For tests. */
  readonly wait?: (ms: number) => Promise<unknown>;
}

/** The pods of this node from the kubelet or the API server. One request at a time, however many callers wait. */
export class PodList implements PodSource {
  readonly #options: PodListOptions;
  readonly #url: URL;
  #pods: readonly Pod[] = [];
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #askedAt = Number.NEGATIVE_INFINITY;
  #fetching: Promise<void> | undefined;

  constructor(options: PodListOptions) {
    this.#options = options;
    this.#url = checkUrl(options);
  }

  async find(query: PodQuery): Promise<FoundContainer | undefined> {
    const { now, wait = sleep } = this.#options;
    if (now() - this.#fetchedAt < FRESH_MS) {
      const found = findContainer(this.#pods, query);
      if (found !== undefined) return found;
    }
    // Without a pod's UID it may well be a container that no kubelet started.
    const retries = query.podUid === undefined ? 0 : RETRIES;
    for (let attempt = 0; ; attempt += 1) {
      await this.#refresh();
      const found = findContainer(this.#pods, query);
      if (found !== undefined || attempt >= retries) return found;
      await wait(RETRY_MS);
    }
  }

  #refresh(): Promise<void> {
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetch(): Promise<void> {
    const { tokenFile, caFile, certFile, keyFile, serverName, verify, now, wait = sleep } = this.#options;
    const pause = this.#askedAt + LEAST_PAUSE_MS - now();
    if (pause > 0) await wait(pause);
    this.#askedAt = now();
    const [token, ca, cert, key] = await Promise.all([tokenFile, caFile, certFile, keyFile].map(credential));
    const text = await get({
      who: `the list of pods at ${this.#url.host}`,
      url: this.#url,
      token: token?.trim(),
      ca,
      cert,
      key,
      serverName,
      verify,
      maxBytes: MAX_LIST_BYTES,
      timeoutMs: ANSWER_MS,
    });
    this.#pods = parsePods(text);
    this.#fetchedAt = now();
  }
}

/**
 * The container among the pods. A container's ID decides; the pod's UID, where it is known, must be that of the
 * container's own pod, so that a forged name beside a true one finds nothing.
 */
export function findContainer(pods: readonly Pod[], query: PodQuery): FoundContainer | undefined {
  const { podUid, containerId, containerName } = query;
  if (containerId === undefined && (podUid === undefined || containerName === undefined)) return undefined;
  for (const pod of pods) {
    if (podUid !== undefined && podUid !== pod.uid && podUid !== pod.staticUid) continue;
    const container = pod.containers.find(({ id, name }) =>
      containerId === undefined ? name === containerName : id === containerId,
    );
    if (container !== undefined) return { pod, container };
  }
  return undefined;
}

async function credential(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    const text = await readFile(path, 'utf8');
    if (text.length <= MAX_CREDENTIAL_BYTES) return text;
  } catch (cause) {
    throw new InterlockError('unavailable', path, `${path} cannot be read`, { cause });
  }
  throw new InterlockError('limit', path, `${path} is longer than ${MAX_CREDENTIAL_BYTES} bytes`);
}

const LOOPBACK = new Set(['127.0.0.1', '[::1]', 'localhost']);

function checkUrl({ url, verify }: PodListOptions): URL {
  const parsed = URL.parse(url);
  if (parsed === null || parsed.protocol !== 'https:') {
    throw new InterlockError('invalid_document', url, `"${url}" is no https:// address of a list of pods`);
  }
  if (verify === false && !LOOPBACK.has(parsed.hostname)) {
    throw new InterlockError(
      'invalid_document',
      url,
      `${parsed.host} is another machine: its certificate must be verified, give its authority's`,
    );
  }
  return parsed;
}

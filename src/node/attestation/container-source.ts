import { InterlockError } from '../../access/index.ts';
import type { DockerAttributes } from '../../identity/index.ts';
import { get } from './http-get.ts';
import { strings } from './pods.ts';

const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const ANSWER_MS = 5000;

/** Answers what a running container is; undefined when there is none. Throws `unavailable` and others. */
export interface ContainerSource {
  inspect(containerId: string): Promise<DockerAttributes | undefined>;
}

/** The Docker Engine behind its socket (Docker Engine API, GET /containers/ID/json). */
export class DockerEngine implements ContainerSource {
  readonly #socketPath: string;

  constructor(socketPath = '/var/run/docker.sock') {
    this.#socketPath = socketPath;
  }

  async inspect(containerId: string): Promise<DockerAttributes | undefined> {
    if (!/^[0-9a-f]{64}$/.test(containerId)) return undefined;
    try {
      const text = await get({
        who: 'the Docker Engine',
        url: new URL(`http://docker/containers/${containerId}/json`),
        socketPath: this.#socketPath,
        maxBytes: MAX_ANSWER_BYTES,
        timeoutMs: ANSWER_MS,
      });
      return parseContainer(text, containerId);
    } catch (error) {
      if (error instanceof InterlockError && error.code === 'not_found') return undefined;
      throw error;
    }
  }
}

interface Inspected {
  readonly Id?: unknown;
  readonly Config?: { readonly Image?: unknown; readonly Labels?: unknown } | null;
  readonly State?: { readonly Running?: unknown } | null;
}

// The environment, which the Engine also tells, is left out: it holds secrets, and attributes are sent and logged.
function parseContainer(text: string, containerId: string): DockerAttributes | undefined {
  let answer: Inspected | null;
  try {
    // Every field that is used is checked below.
    answer = JSON.parse(text) as Inspected | null;
  } catch (cause) {
    throw new InterlockError('unavailable', 'docker', "the Docker Engine's answer is not JSON", { cause });
  }
  if (answer?.Id !== containerId || answer.State?.Running !== true) return undefined;
  const image = answer.Config?.Image;
  return {
    container_id: containerId,
    image: typeof image === 'string' ? image : '',
    labels: strings(answer.Config?.Labels),
  };
}

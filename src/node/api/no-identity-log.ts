import { hash } from 'node:crypto';
import type { DockerAttributes, WorkloadAttributes } from '../../identity/index.ts';
import type { Timers } from '../timers.ts';
import type { ApiLog } from './callers.ts';

/** How long nothing more is said of processes with the same attributes: clients ask again every few seconds. */
const QUIET_MS = 600_000;
/** Attributes that are told apart. */
const MAX_KNOWN = 1000;
/** Characters of attributes in one line. */
const MAX_LOGGED = 16 * 1024;

/** Lets the log know of processes that get no identity, and what rules see of them. */
export class NoIdentityLog {
  readonly #log: ApiLog;
  readonly #timers: Pick<Timers, 'now'>;
  /** When each was told, by the hash of its attributes; the oldest first. */
  readonly #told = new Map<string, number>();

  constructor(log: ApiLog, timers: Pick<Timers, 'now'>) {
    this.#log = log;
    this.#timers = timers;
  }

  /** Writes one line for these attributes, and no other for ten minutes. */
  tell(pid: number | undefined, attributes: WorkloadAttributes): void {
    const key = hash('sha256', JSON.stringify(attributes), 'base64');
    const now = this.#timers.now();
    const before = this.#told.get(key);
    if (before !== undefined && now - before < QUIET_MS) return;
    this.#told.delete(key);
    this.#told.set(key, now);
    const [oldest] = this.#told.keys();
    if (this.#told.size > MAX_KNOWN && oldest !== undefined) this.#told.delete(oldest);
    this.#log.info(
      { pid, uid: attributes.unix?.uid, attributes: shown(attributes) },
      'a process gets no identity: "interlock identity explain" says why, given these attributes',
    );
  }
}

/** The attributes without what may be secret, and where they are too many, without the long ones. */
function shown(attributes: WorkloadAttributes): WorkloadAttributes {
  const { unix, k8s, systemd, docker } = attributes;
  const bare = docker === undefined ? undefined : withoutEnvironment(docker);
  const parts = { unix, k8s, systemd, docker: bare };
  if (JSON.stringify(parts).length <= MAX_LOGGED) return present(parts);
  return present({
    unix: unix && { ...unix, groups: unix.groups.slice(0, 100) },
    k8s: k8s && { ...k8s, labels: {}, owners: [] },
    systemd,
    docker: bare && { ...bare, labels: {} },
  });
}

function withoutEnvironment({ container_id, image, labels }: DockerAttributes): DockerAttributes {
  return { container_id, image, labels };
}

type Parts = { readonly [Name in keyof WorkloadAttributes]: WorkloadAttributes[Name] | undefined };

function present(parts: Parts): WorkloadAttributes {
  // What is left has no undefined value.
  return Object.fromEntries(Object.entries(parts).filter(([, part]) => part !== undefined));
}

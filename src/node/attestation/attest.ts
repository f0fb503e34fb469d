import { InterlockError } from '../../access/index.ts';
import type {
  DockerAttributes,
  KubernetesAttributes,
  SystemdAttributes,
  UnixAttributes,
  WorkloadAttributes,
} from '../../identity/index.ts';
import type { LiveProcess } from '../../system/index.ts';
import { Accounts } from './accounts.ts';
import { type Hierarchy, readCgroups, unitOf } from './cgroup.ts';
import type { ContainerSource } from './container-source.ts';
import { locateContainer } from './container.ts';
import {
  type ExecutableAccess,
  executableAccess,
  ExecutableHashes,
  type ExecutablePath,
  executablePath,
  type HashStore,
  programOf,
} from './executable.ts';
import { locateByMounts } from './mountinfo.ts';
import type { FoundContainer, PodQuery, PodSource } from './pod-source.ts';
import { type ProcessStatus, readStatus } from './status.ts';
import { systemdAttributes } from './systemd.ts';

/** What attests, each part for itself. */
export const ATTESTATION_PARTS = ['unix', 'systemd', 'k8s', 'docker'] as const;
export type AttestationPart = (typeof ATTESTATION_PARTS)[number];

/** What one part could not find out, and why; the other parts' attributes stand. */
export interface AttestationFault {
  readonly part: AttestationPart;
  readonly reason: string;
}

/** What was found out about a process. */
export interface AttestedWorkload {
  readonly attributes: WorkloadAttributes;
  readonly faults: readonly AttestationFault[];
}

/** Where an attestor looks. */
export interface AttestorOptions {
  /** Absent on a node without Kubernetes. */
  readonly pods?: PodSource | undefined;
  /** Absent on a node without Docker. */
  readonly containers?: ContainerSource | undefined;
  /** False to leave systemd units out. */
  readonly systemd?: boolean | undefined;
  /** Executables larger than this many bytes are not hashed; 0 hashes none. */
  readonly maxExecutableBytes?: number | undefined;
  /** Where hashes of executables outlive the agent's process. */
  readonly hashes?: HashStore | undefined;
  /** For tests. */
  readonly procRoot?: string | undefined;
  readonly etc?: string | undefined;
  readonly unitRoot?: string | undefined;
  readonly executables?: ExecutableAccess | undefined;
}

/** The user and group that a process had when it connected. */
export interface ConnectedAs {
  readonly uid: number;
  readonly gid: number;
}

/** Finds out what a process is, from the kernel, the kubelet and the container runtime. */
export class WorkloadAttestor {
  readonly #options: AttestorOptions;
  readonly #procRoot: string;
  readonly #accounts: Accounts;
  readonly #executables: ExecutableAccess;
  readonly #hashes: ExecutableHashes;

  constructor(options: AttestorOptions = {}) {
    this.#options = options;
    this.#procRoot = options.procRoot ?? '/proc';
    this.#accounts = new Accounts(options.etc);
    this.#executables = options.executables ?? executableAccess();
    this.#hashes = new ExecutableHashes(options.maxExecutableBytes, options.hashes, this.#executables.files);
  }

  /**
   * The attributes of a process that is held: all were read while it lived. With `connected`, it must still be the
   * user and group that connected: a program that runs as somebody else since then is not the caller. Throws
   * `unavailable` when the process ends or starts another program meanwhile, `forbidden` when it changed its user or
   * group.
   */
  async attest(process: LiveProcess, connected?: ConnectedAs): Promise<AttestedWorkload> {
    const faults: AttestationFault[] = [];
    assertAlive(process);
    const status = this.#statusOf(process, connected);
    const { uid } = status;
    const program = await programOf(this.#executables, this.#procRoot, process.pid, uid);
    const cgroups = this.#cgroupsOf(process.pid, faults);
    const query = cgroups === undefined ? undefined : this.#containerOf(process.pid, cgroups, faults);
    const [sha256, k8s, docker] = await Promise.all([
      this.#hashOf(process.pid, uid, faults),
      this.#podOf(query, faults),
      this.#dockerOf(query, faults),
    ]);
    const unix = await this.#unixOf(process.pid, status, k8s !== undefined || docker !== undefined, faults);
    const systemd = cgroups === undefined ? undefined : this.#systemdOf(cgroups);
    // Looked at again at the end: what was started in its place meanwhile must not lend its name.
    const isSame = program === (await programOf(this.#executables, this.#procRoot, process.pid, uid));
    this.#statusOf(process, status);
    assertAlive(process);
    if (!isSame) throw startedAnother(process);
    return {
      attributes: {
        unix: sha256 === undefined ? unix : { ...unix, sha256 },
        ...(k8s === undefined ? {} : { k8s }),
        ...(systemd === undefined ? {} : { systemd }),
        ...(docker === undefined ? {} : { docker }),
      },
      faults,
    };
  }

  #statusOf(process: LiveProcess, expected: ConnectedAs | undefined): ProcessStatus {
    let status: ProcessStatus;
    try {
      status = readStatus(this.#procRoot, process.pid);
    } catch (error) {
      assertAlive(process);
      throw error;
    }
    if (expected !== undefined && (status.uid !== expected.uid || status.gid !== expected.gid)) {
      throw new InterlockError(
        'forbidden',
        `process ${process.pid}`,
        `process ${process.pid} connected as ${expected.uid}:${expected.gid} and now runs as ${status.uid}:${status.gid}`,
      );
    }
    return status;
  }

  async #unixOf(
    pid: number,
    status: ProcessStatus,
    isContained: boolean,
    faults: AttestationFault[],
  ): Promise<UnixAttributes> {
    const { uid, gid, groups } = status;
    const user = attempt(faults, 'unix', () => this.#accounts.user(uid));
    const group = attempt(faults, 'unix', () => this.#accounts.group(gid));
    const found = await attemptLater(faults, 'unix', () =>
      executablePath(this.#executables, this.#procRoot, pid, uid),
    );
    const path = believedPath(found, isContained, faults);
    return {
      uid,
      gid,
      ...(user === undefined ? {} : { user }),
      ...(group === undefined ? {} : { group }),
      groups,
      ...(path === undefined ? {} : { path }),
    };
  }

  async #hashOf(pid: number, uid: number, faults: AttestationFault[]): Promise<string | undefined> {
    if (this.#options.maxExecutableBytes === 0) return undefined;
    return attemptLater(faults, 'unix', () => this.#hashes.hash(this.#procRoot, pid, uid));
  }

  #systemdOf(cgroups: readonly Hierarchy[]): SystemdAttributes | undefined {
    const unit = this.#options.systemd === false ? undefined : unitOf(cgroups);
    return unit === undefined ? undefined : systemdAttributes(unit, this.#options.unitRoot);
  }

  // Without it, neither the unit nor a container can be told.
  #cgroupsOf(pid: number, faults: AttestationFault[]): Hierarchy[] | undefined {
    try {
      return readCgroups(this.#procRoot, pid);
    } catch (error) {
      for (const part of ['systemd', 'k8s', 'docker'] as const)
        faults.push({ part, reason: reasonOf(error) });
      return undefined;
    }
  }

  #containerOf(pid: number, cgroups: readonly Hierarchy[], faults: AttestationFault[]): PodQuery | undefined {
    const located = locateContainer(cgroups);
    if (located.kind === 'container') return located.place;
    if (located.kind === 'none') {
      return attempt(faults, 'k8s', () => locateByMounts(this.#procRoot, pid, cgroups));
    }
    for (const part of ['k8s', 'docker'] as const) {
      faults.push({ part, reason: 'its cgroups name more than one container' });
    }
    return undefined;
  }

  async #podOf(
    query: PodQuery | undefined,
    faults: AttestationFault[],
  ): Promise<KubernetesAttributes | undefined> {
    const { pods } = this.#options;
    if (query === undefined || pods === undefined) return undefined;
    const found = await attemptLater(faults, 'k8s', async () => ({ container: await pods.find(query) }));
    if (found?.container !== undefined) return kubernetesAttributes(found.container);
    if (found !== undefined && query.podUid !== undefined) {
      faults.push({
        part: 'k8s',
        reason: `no pod of this node has the container of its cgroup, pod ${query.podUid}`,
      });
    }
    return undefined;
  }

  async #dockerOf(
    query: PodQuery | undefined,
    faults: AttestationFault[],
  ): Promise<DockerAttributes | undefined> {
    const { containers } = this.#options;
    const containerId = query?.containerId;
    if (containers === undefined || containerId === undefined) return undefined;
    return attemptLater(faults, 'docker', () => containers.inspect(containerId));
  }
}

function believedPath(
  found: ExecutablePath | undefined,
  isContained: boolean,
  faults: AttestationFault[],
): string | undefined {
  // Inside a container the path is the image's, and who may start containers is the runtime's matter.
  if (found === undefined || found.confirmed || isContained) return found?.path;
  faults.push({
    part: 'unix',
    reason: `the file at ${found.path} is not its executable as seen from the agent`,
  });
  return undefined;
}

function kubernetesAttributes({ pod, container }: FoundContainer): KubernetesAttributes {
  return {
    namespace: pod.namespace,
    service_account: pod.serviceAccount,
    pod_name: pod.name,
    pod_uid: pod.uid,
    node_name: pod.nodeName,
    container_name: container.name,
    image: container.image,
    ...(container.imageId === undefined ? {} : { image_id: container.imageId }),
    labels: pod.labels,
    owners: pod.owners,
  };
}

function assertAlive(process: LiveProcess): void {
  if (process.alive()) return;
  throw new InterlockError(
    'unavailable',
    `process ${process.pid}`,
    `process ${process.pid} went away while it was looked at`,
  );
}

function startedAnother({ pid }: LiveProcess): InterlockError {
  return new InterlockError(
    'unavailable',
    `process ${pid}`,
    `process ${pid} started another program while it was looked at`,
  );
}

function attempt<T>(faults: AttestationFault[], part: AttestationPart, look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    faults.push({ part, reason: reasonOf(error) });
    return undefined;
  }
}

async function attemptLater<T>(
  faults: AttestationFault[],
  part: AttestationPart,
  look: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    faults.push({ part, reason: reasonOf(error) });
    return undefined;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof InterlockError ? error.message : 'an unexpected error, see the log';
}

import { InterlockError, parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import { type AccessPolicy, API_VERSION, POLICY_KIND } from '../../policy/index.ts';
import type { ProxyState } from '../../proto/proxy/index.ts';
import {
  type AuthenticationStage,
  type Enforcement,
  endsBetween,
  readEnforcement,
  untilNextLook,
} from '../../rollout/index.ts';
import { z } from 'zod';
import type { StateFiles } from './state-files.ts';

/** The red button on this machine, for when nothing else answers. Times are milliseconds since 1970 UTC. */
export interface LocalRelease {
  /** Absent: all workloads of this proxy. */
  readonly workload?: SpiffeId;
  readonly reason: string;
  /** `uid:N` of whoever pressed; `local` where the kernel does not say. */
  readonly by: string;
  readonly at: number;
  readonly until?: number;
}

/** Releases made here that are in force at one time. */
const MAX_RELEASES = 100;
/** When what could not be ended is tried again, milliseconds. */
const RETRY_MS = 1000;
const LOCAL_ID = 'local';
const STATE = 'state.json';
const RELEASES = 'local-releases.json';

const stateSchema = z.object({ version: z.number(), workloads: z.array(z.unknown()) });
const releasesSchema = z.array(
  z.object({
    workload: z
      .string()
      .transform((id) => parseSpiffeId(id))
      .exactOptional(),
    reason: z.string(),
    by: z.string(),
    at: z.number(),
    until: z.number().exactOptional(),
  }),
);

export interface PoliciesOptions {
  readonly files: StateFiles;
  readonly now: () => number;
  readonly after: (ms: number, run: () => void) => () => void;
  readonly workloads: readonly SpiffeId[];
  /** How connections are taken until a control plane has said so. */
  readonly authentication: AuthenticationStage;
  /**
   * Puts the sets in force, or throws why they cannot be. Called with the same sets as well, when a rule of them has ended:
   * what was allowed by it is to be looked at again.
   */
  readonly replace: (enforcements: readonly Enforcement[]) => void;
  /** Something that changes nothing now, but should be seen to: the disk does not take the state, say. */
  readonly onFault: (error: unknown) => void;
  /** Releases were made or ended here. */
  readonly onReleases?: (() => void) | undefined;
}

/** What this proxy enforces: the control plane's last state, from its stream or from disk, under releases made here. */
export class Policies {
  readonly #options: PoliciesOptions;
  #state: readonly Enforcement[];
  #version = 0;
  #releases: readonly LocalRelease[] = [];
  /** When the sets were put in force last: rules that have ended since are to bite. */
  #putAt = 0;
  #cancel = () => {};

  /**
   * Starts from the last state on disk. Where that is damaged, what was enforced is not known: everything is denied
   * until a control plane answers or a release is made here, and `onFault` is told.
   */
  constructor(options: PoliciesOptions) {
    this.#options = options;
    const { workloads, authentication } = options;
    this.#state = workloads.map((workload) => ({ workload, authentication, stage: 'draft' }));
    this.#restore();
  }

  /** Version of the state in force; 0 where no control plane has given one yet. */
  get version(): number {
    return this.#version;
  }

  get releases(): readonly LocalRelease[] {
    return this.#releases;
  }

  get enforcements(): readonly Enforcement[] {
    return this.#state;
  }

  /** Takes a state of the control plane. Throws why it cannot be in force: then the one before stays. */
  take({ version, workloads }: ProxyState): void {
    const known = new Map(this.#state.map((each) => [JSON.stringify(each), each]));
    const next = workloads.map(({ workload, enforcement }) => {
      const read = readEnforcement(enforcement, workload);
      // The same object for the same content keeps its indexes.
      return known.get(JSON.stringify(read)) ?? read;
    });
    // What a state does not name would no longer be governed: a state that forgets a workload is none for this proxy.
    const missing = this.#options.workloads.find((own) => next.every((each) => each.workload !== own));
    if (missing !== undefined)
      throw new InterlockError('invalid_document', missing, `the state says nothing of ${missing}`);
    this.#put(next, this.#releases);
    this.#version = Number(version);
    this.#save(STATE, { version: this.#version, workloads: next });
    this.#wake();
  }

  /** Puts a former state in force again: what enforces it refused the one that was taken. Throws as {@link take}. */
  restore(version: number, state: readonly Enforcement[]): void {
    this.#put(state, this.#releases);
    this.#version = version;
    this.#save(STATE, { version, workloads: state });
    this.#wake();
  }

  /** Takes enforcement away here, at once, with everything else down. Throws `limit`, `not_found`. */
  release(release: LocalRelease): void {
    const { workload } = release;
    if (workload !== undefined && this.#state.every((each) => each.workload !== workload))
      throw new InterlockError('not_found', workload, `${workload} is not served here: nothing is released`);
    if (this.#releases.length >= MAX_RELEASES)
      throw new InterlockError('limit', 'release', `${MAX_RELEASES} releases are in force here: arm first`);
    this.#change([...this.#releases, release]);
  }

  /** Ends the releases made here; those of the control plane stay. Gives how many there were. */
  arm(): number {
    const before = this.#releases.length;
    this.#change([]);
    return before;
  }

  close(): void {
    this.#cancel();
  }

  #change(releases: readonly LocalRelease[]): void {
    this.#put(this.#state, releases);
    this.#save(RELEASES, this.#releases);
    this.#wake();
    this.#options.onReleases?.();
  }

  #put(state: readonly Enforcement[], releases: readonly LocalRelease[]): void {
    const now = this.#options.now();
    const open = releases.filter(({ until }) => until === undefined || now < until);
    this.#options.replace(state.map((enforcement) => released(enforcement, open)));
    this.#state = state;
    this.#releases = open;
    this.#putAt = now;
  }

  /** Ends what ends by itself: releases made here, and rules that have an end. */
  #wake(): void {
    const { now, after } = this.#options;
    this.#cancel();
    const at = now();
    const waits = this.#releases.flatMap(({ until }) => (until === undefined ? [] : Math.max(0, until - at)));
    const look = untilNextLook(this.#state, at);
    if (look !== undefined) waits.push(look);
    if (waits.length > 0) this.#cancel = after(Math.min(...waits), () => this.#look());
  }

  #look(): void {
    const now = this.#options.now();
    const isOver = ({ until }: LocalRelease) => until !== undefined && until <= now;
    try {
      if (this.#releases.some(isOver)) return this.#change(this.#releases);
      if (this.#state.some((each) => endsBetween(each, this.#putAt, now)))
        this.#put(this.#state, this.#releases);
    } catch (error) {
      this.#options.onFault(error);
      this.#cancel = this.#options.after(RETRY_MS, () => this.#look());
      return;
    }
    this.#wake();
  }

  #save(name: string, data: unknown): void {
    try {
      this.#options.files.write(name, JSON.stringify(data));
    } catch (error) {
      this.#options.onFault(error);
    }
  }

  #restore(): void {
    const { files, onFault } = this.#options;
    let releases: readonly LocalRelease[] = [];
    try {
      releases = releasesSchema.parse(JSON.parse(files.read(RELEASES) ?? '[]'));
    } catch (error) {
      onFault(damaged(RELEASES, error));
    }
    try {
      const text = files.read(STATE);
      if (text !== undefined) {
        const { version, workloads } = stateSchema.parse(JSON.parse(text));
        const kept = workloads.map((each) => readEnforcement(JSON.stringify(each), STATE));
        // A workload that has come since it was kept starts as any new one.
        const added = this.#state.filter((own) => kept.every((each) => each.workload !== own.workload));
        this.#put([...kept, ...added], releases);
        this.#version = version;
        return this.#wake();
      }
    } catch (error) {
      onFault(damaged(STATE, error));
      this.#state = this.#state.map(({ workload }) => inDoubt(workload));
    }
    this.#put(this.#state, releases);
    this.#wake();
  }
}

function released(enforcement: Enforcement, releases: readonly LocalRelease[]): Enforcement {
  const { enforced, ...rest } = enforcement;
  const release = releases.find(
    ({ workload }) => workload === undefined || workload === enforcement.workload,
  );
  if (enforced === undefined || release === undefined) return enforcement;
  const { until } = release;
  return { ...rest, released: { id: LOCAL_ID, ...(until === undefined ? {} : { until }) } };
}

/** Closed: a policy that no rule opens. */
function inDoubt(workload: SpiffeId): Enforcement {
  const policy: AccessPolicy = {
    apiVersion: API_VERSION,
    kind: POLICY_KIND,
    metadata: { name: 'interlock-in-doubt' },
    spec: { protects: { workload }, tier: 'critical', stage: 'enforced', rules: [], deny: [] },
  };
  return { workload, authentication: 'strict', stage: 'enforced', enforced: [policy] };
}

function damaged(name: string, cause: unknown): InterlockError {
  return new InterlockError('state', name, `${name} is damaged: what it said is not known`, { cause });
}

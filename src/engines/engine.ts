import type { SpiffeId, Workload } from '../access/index.ts';
import type { AccessPolicy } from '../policy/index.ts';

export const ENGINES = ['envoy', 'istio', 'linkerd', 'cilium', 'kubernetes'] as const;
export type EngineName = (typeof ENGINES)[number];

/**
 * What the rendered documents do not say the way the policy does. `narrower` denies something that the policy
 * allows; `wider` allows something that the policy denies; `same` is a remark that changes no verdict.
 */
export interface Loss {
  readonly effect: 'narrower' | 'wider' | 'same';
  /** Short stable name of the kind of loss, for `--allow-wider` and machines: `http-on-l4`, `entity-as-cidr`. */
  readonly code: string;
  readonly policy: string;
  readonly rule?: string;
  /** What cannot be expressed and what happens instead, in one sentence. */
  readonly what: string;
}

/** One document for the engine: `file` is a relative name, `content` plain data that is written as YAML. */
export interface EngineDocument {
  readonly file: string;
  readonly content: Readonly<Record<string, unknown>>;
}

export interface Rendering {
  readonly documents: readonly EngineDocument[];
  readonly losses: readonly Loss[];
}

export interface RenderOptions {
  /** Documents that report what they would deny and deny nothing, where the engine has such a mode. */
  readonly shadow: boolean;
  /** What is known of a workload (labels to select it by, its ports); absent where the state does not know it. */
  readonly workload: (id: SpiffeId) => Workload | undefined;
  /** All that the state knows, to find workloads that a selector would catch beside the one it is for. */
  readonly workloads?: readonly Workload[];
  /** The time of rendering, milliseconds since 1970 UTC: what rules with an end are judged by where an engine knows no time. */
  readonly at?: number;
}

/** Policies -> the engine's own documents. Pure: writing them is the caller's. */
export interface Engine {
  readonly name: EngineName;
  render(policies: readonly AccessPolicy[], options: RenderOptions): Rendering;
}

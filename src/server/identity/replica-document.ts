import { z } from 'zod';
import type { Json, StoredDocument } from '../../store/index.ts';

/** An agent that is connected to a control plane, and which versions it has confirmed. */
export interface AgentHere {
  readonly id: string;
  readonly bundles: number;
  readonly rules: number;
  readonly revocations: number;
  readonly takesTargets: boolean;
}

/** What does not change while a control plane runs. */
const aboutSchema = z.object({
  version: z.string(),
  /** Milliseconds since 1970 UTC. */
  startedAt: z.number(),
  /** Name of its machine. */
  host: z.string(),
  addresses: z.object({
    agents: z.string(),
    http: z.string().exactOptional(),
    endpoints: z.string().exactOptional(),
  }),
});
export type ReplicaAbout = Readonly<z.output<typeof aboutSchema>>;

const schema = z.object({
  /** Serial number of its own SVID. */
  serial: z.string(),
  /** Version of the bundles that it tells its agents. */
  bundles: z.number(),
  agents: z.array(z.tuple([z.string(), z.number(), z.number(), z.number(), z.boolean()])),
  // What follows is for people. One that is older than this does not say it.
  about: aboutSchema.exactOptional(),
  at: z.number().exactOptional(),
  leadsSince: z.number().exactOptional(),
  checks: z.record(z.string(), z.string()).exactOptional(),
  keys: z.array(z.string()).exactOptional(),
});

/** What a control plane says of itself. Times are milliseconds since 1970 UTC. */
export interface ReplicaSaid {
  readonly serial: string;
  readonly bundles: number;
  readonly agents: readonly AgentHere[];
  readonly about?: ReplicaAbout;
  /** When it said this. */
  readonly at?: number;
  /** Since when it leads, where it does. */
  readonly leadsSince?: number;
  /** What it needs, by name: "ok", or the code of what is wrong. */
  readonly checks?: Readonly<Record<string, string>>;
  /** IDs of the keys of its key file, where keys are sealed. */
  readonly keys?: readonly string[];
}

/** As it is kept. */
export function replicaData({ agents, ...said }: ReplicaSaid): Json {
  return {
    ...said,
    agents: agents.map(({ id, bundles, rules, revocations, takesTargets }) => [
      id,
      bundles,
      rules,
      revocations,
      takesTargets,
    ]),
  };
}

/** Reads it. */
export function replicaSaid({ data }: StoredDocument): ReplicaSaid {
  const parsed = schema.safeParse(data);
  // One of another version may have agents that cannot be read: none of them has confirmed anything.
  if (!parsed.success) return { agents: [], serial: '', bundles: 0 };
  const { agents, ...said } = parsed.data;
  return {
    ...said,
    agents: agents.map(([id, bundles, rules, revocations, takesTargets]) => ({
      id,
      bundles,
      rules,
      revocations,
      takesTargets,
    })),
  };
}

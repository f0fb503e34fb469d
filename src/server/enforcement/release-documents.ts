import { z } from 'zod';
import { InterlockError, parseSpiffeId } from '../../access/index.ts';
import type { Release } from '../../rollout/index.ts';
import type { Json } from '../../store/index.ts';

const text = z.string().min(1).max(2048);
export const releaseScopeSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('all') }),
  z.strictObject({ kind: z.literal('cluster'), cluster: text }),
  z.strictObject({ kind: z.literal('namespace'), namespace: text }),
  z.strictObject({ kind: z.literal('workload'), workload: text.transform((id) => parseSpiffeId(id)) }),
  z.strictObject({ kind: z.literal('policy'), policy: text }),
]);
const releaseSchema = z.strictObject({
  id: text,
  scope: releaseScopeSchema,
  reason: text,
  by: text,
  at: z.number(),
  until: z.number().exactOptional(),
  drill: z.literal(true).exactOptional(),
});
const endSchema = z.strictObject({ at: z.number(), by: text, act: z.enum(['arm', 'release.end']) });
const entrySchema = z.strictObject({ release: releaseSchema, ended: endSchema.exactOptional() });
const drillSchema = z.strictObject({ at: z.number(), by: text, points: z.number(), confirmed: z.number() });
const fileSchema = z.strictObject({
  releases: z.array(releaseSchema),
  drills: z.array(drillSchema),
  /** Ended ones that the database may not know of yet. Absent where a version wrote it that kept releases in this file alone. */
  ended: z.array(entrySchema).exactOptional(),
});

/** How a release ended. What has ended never comes back, whoever has not heard of it. */
export type ReleaseEnd = z.output<typeof endSchema>;

/** A release as the database keeps it. */
export interface ReleaseEntry {
  readonly release: Release;
  readonly ended?: ReleaseEnd;
}

/** One drill: how many points were asked, and how many confirmed. */
export type Drill = Readonly<z.output<typeof drillSchema>>;

/** What the file of the state directory holds. */
export interface ReleaseFile {
  readonly releases: readonly Release[];
  readonly drills: readonly Drill[];
  readonly ended?: readonly ReleaseEntry[];
}

/** Throws where it is no such document. */
export const releaseEntryOf = (data: Json): ReleaseEntry => entrySchema.parse(data);
/** Throws where it is no such document. */
export const drillOf = (data: Json): Drill => drillSchema.parse(data);

/** What a file says. Throws `state`: nothing would be released that should be, so an operator has to look. */
export function readReleaseFile(path: string, kept: string | undefined): ReleaseFile {
  if (kept === undefined) return { releases: [], drills: [], ended: [] };
  try {
    return fileSchema.parse(JSON.parse(kept));
  } catch (cause) {
    throw new InterlockError(
      'state',
      path,
      `${path} is damaged, so nobody knows what is released: mend it, or remove it to enforce everything`,
      { cause },
    );
  }
}

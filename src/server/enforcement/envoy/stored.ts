import { z } from 'zod';
import { InterlockError, isInterlockError, parseSpiffeId, type SpiffeId } from '../../../access/index.ts';
import { type ProxyDocument, readProxyDocument } from '../../../proxy/document/index.ts';
import type { IdentityStore, StoredDocument } from '../../../store/index.ts';

/** A Proxy document of a workload that an Envoy serves. */
export interface EnvoyDocument {
  readonly workload: SpiffeId;
  readonly document: ProxyDocument;
  /** As it was given, to be shown and kept. */
  readonly text: string;
  /** Where it was synced from; absent of one that was given by hand. */
  readonly origin?: EnvoyOrigin;
}

const originSchema = z.strictObject({
  source: z.string(),
  file: z.string(),
  commit: z.string().exactOptional(),
  branch: z.string().exactOptional(),
  by: z.string(),
  at: z.number(),
});
/** Where a Proxy document was synced from; `at` is milliseconds since 1970 UTC. */
export type EnvoyOrigin = Readonly<z.output<typeof originSchema>>;
// One that was given by hand is its text alone.
const keptSchema = z.union([
  z.string().transform((text) => ({ text })),
  z.strictObject({ text: z.string(), origin: originSchema }),
]);

/** Characters of a reason, and names that are told at the start. */
const MOST_REASON = 200;
const MOST_NAMED = 3;

/** Reads a document as it was given. Throws `invalid_document`. */
export function readEnvoyDocument(text: string, file: string): EnvoyDocument {
  const document = readProxyDocument(text, file);
  if (document.workload === undefined)
    throw new InterlockError('invalid_document', file, `${file}: spec.workload says whose Envoy it is`);
  return { workload: document.workload, document, text };
}

/** A document as the store has it. Throws `state` where it is none, or that of another workload than its name says. */
export function envoyDocumentOf({ name, data }: Pick<StoredDocument, 'name' | 'data'>): EnvoyDocument {
  const kept = keptSchema.safeParse(data);
  if (!kept.success) throw unreadable(name, 'a newer version has written it, or it is damaged');
  let found: EnvoyDocument;
  try {
    found = { ...kept.data, ...readEnvoyDocument(kept.data.text, 'it') };
  } catch (error) {
    throw unreadable(name, isInterlockError(error) ? error.message : 'it is no Proxy document', error);
  }
  if (found.workload !== parseSpiffeId(name)) throw unreadable(name, `it is of ${found.workload}`);
  return found;
}

function unreadable(name: string, fault: string, cause?: unknown): InterlockError {
  return new InterlockError('state', name, fault.slice(0, MOST_REASON), { cause });
}

/** Throws `state` where one of the documents of a state cannot be read, with what to do. */
export function checkAll(documents: readonly StoredDocument[]): void {
  const faults = new Map<string, string>();
  for (const document of documents) {
    try {
      envoyDocumentOf(document);
    } catch (error) {
      faults.set(document.name, error instanceof Error ? error.message : String(error));
    }
  }
  if (faults.size > 0) throw cannotStart(faults);
}

/** Throws as {@link checkAll} does, for who only looks whether a control plane could start on a state. */
export async function checkEnvoyDocuments(store: Pick<IdentityStore, 'documents'>): Promise<void> {
  checkAll(await store.documents('proxy'));
}

/** Why a control plane does not start: it would take the listeners, and the policies with them, from these workloads' Envoys. */
function cannotStart(faults: ReadonlyMap<string, string>): InterlockError {
  const told = [...faults]
    .slice(0, MOST_NAMED)
    .map(([name, fault]) => `Proxy of ${name.slice(0, 400)} (${fault})`);
  const more = faults.size > MOST_NAMED ? ` and ${faults.size - MOST_NAMED} more` : '';
  return new InterlockError(
    'state',
    [...faults.keys()][0] ?? '',
    `the state holds what this version cannot read, and without it Envoys would listen nowhere: ${told.join(', ')}${more}. Start the version that wrote it, or a newer one; or restore the state from a copy. Until then Envoys go on with what they have`,
  );
}

/** What another replica has written and this one cannot read: it goes on by what it has understood last. */
export function notFollowed(name: string, cause: unknown): InterlockError {
  const fault = cause instanceof Error ? cause.message : String(cause);
  return new InterlockError(
    'unavailable',
    name,
    `this control plane cannot read the Proxy of ${name.slice(0, 400)}: ${fault}. Connected Envoys keep what they have, others are sent to another control plane; start the version here that the others have`,
    { cause },
  );
}

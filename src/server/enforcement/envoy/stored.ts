import { z } from 'zod';
import { InterlockError, isInterlockError, parseSpiffeId, type SpiffeId } from '../../../access/index.ts';
import { type ProxyDocument, readProxyDocument } from '../../../proxy/document/index.ts';
import type { IdentityStore, StoredDocument } from '../../../store/index.ts';
import { type DocumentKind, readAll, unreadable } from '../unreadable.ts';

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

/** Where the Envoys of workloads listen, and with it what they enforce. */
export const PROXY_DOCUMENTS: DocumentKind = {
  listed: (name) => `Proxy of ${name}`,
  one: (name) => `the Proxy of ${name}`,
  // The policies would be gone with the listeners.
  without: 'Envoys would listen nowhere',
  users: 'Envoys',
};

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

/** Throws `state` where one of the documents of a state cannot be read, with what to do. */
export async function checkEnvoyDocuments(store: Pick<IdentityStore, 'documents'>): Promise<void> {
  readAll(await store.documents('proxy'), envoyDocumentOf, PROXY_DOCUMENTS);
}

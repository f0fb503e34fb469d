import { InterlockError, parseSpiffeId, type SpiffeId } from '../../../access/index.ts';
import { checkEnvoyRoutes } from '../../../engines/envoy/resources/index.ts';
import { type ProxyDocument, readProxyDocument } from '../../../proxy/document/index.ts';
import type { IdentityStore } from '../../../store/index.ts';
import type { Actor, Recorder } from '../../identity/recorder.ts';

/** A Proxy document of a workload that an Envoy serves. */
export interface EnvoyDocument {
  readonly workload: SpiffeId;
  readonly document: ProxyDocument;
  /** As it was given, to be shown and kept. */
  readonly text: string;
}

/** Which ports Envoys listen on for each workload, and whom they call: the documents that our own proxy reads from a file. */
export class EnvoyDocuments {
  readonly #recorder: Recorder;
  readonly #listeners = new Set<(workload: SpiffeId) => void>();
  readonly #all: Map<SpiffeId, EnvoyDocument>;
  readonly unreadable: ReadonlyMap<string, string>;

  private constructor(
    recorder: Recorder,
    all: Map<SpiffeId, EnvoyDocument>,
    unreadable: ReadonlyMap<string, string>,
  ) {
    this.#recorder = recorder;
    this.#all = all;
    this.unreadable = unreadable;
  }

  static async open(store: IdentityStore, recorder: Recorder): Promise<EnvoyDocuments> {
    const all = new Map<SpiffeId, EnvoyDocument>();
    const unreadable = new Map<string, string>();
    for (const { name, data } of await store.documents('proxy')) {
      try {
        const workload = parseSpiffeId(name);
        all.set(workload, read(typeof data === 'string' ? data : '', name));
      } catch (error) {
        unreadable.set(name, error instanceof Error ? error.message : String(error));
      }
    }
    return new EnvoyDocuments(recorder, all, unreadable);
  }

  get all(): ReadonlyMap<SpiffeId, EnvoyDocument> {
    return this.#all;
  }

  /** Adds the document of a workload, or replaces it. Throws `invalid_document`, also for what Envoy cannot do. */
  async apply(who: Actor, text: string, file: string): Promise<EnvoyDocument> {
    const made = read(text, file);
    checkEnvoyRoutes(made.workload, made.document);
    const recorder = this.#recorder;
    await recorder.commit(
      [{ change: 'put', kind: 'proxy', name: made.workload, data: text }],
      recorder.entry(who, 'proxy.apply', made.workload),
    );
    this.#all.set(made.workload, made);
    this.#changed(made.workload);
    return made;
  }

  /** Takes the document of a workload away: its Envoys listen no more. Throws `not_found`. */
  async remove(who: Actor, workload: SpiffeId): Promise<void> {
    if (!this.#all.has(workload))
      throw new InterlockError('not_found', workload, `there is no Proxy of ${workload}`);
    const recorder = this.#recorder;
    await recorder.commit(
      [{ change: 'remove', kind: 'proxy', name: workload }],
      recorder.entry(who, 'proxy.remove', workload),
    );
    this.#all.delete(workload);
    this.#changed(workload);
  }

  /** Calls `listener` with each workload whose document has changed, until the function it gives back is called. */
  onChange(listener: (workload: SpiffeId) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #changed(workload: SpiffeId): void {
    for (const listener of this.#listeners) listener(workload);
  }
}

function read(text: string, file: string): EnvoyDocument {
  const document = readProxyDocument(text, file);
  if (document.workload === undefined)
    throw new InterlockError('invalid_document', file, `${file}: spec.workload says whose Envoy it is`);
  return { workload: document.workload, document, text };
}

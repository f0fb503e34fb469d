import { InterlockError, type SpiffeId, spiffeIdOf } from '../../../access/index.ts';
import { checkEnvoyRoutes } from '../../../engines/envoy/resources/index.ts';
import type { IdentityStore, StoredDocument } from '../../../store/index.ts';
import { Following } from '../../identity/following.ts';
import type { Actor, Recorder } from '../../identity/recorder.ts';
import type { Timers } from '../../timers.ts';
import { Unreadable } from '../unreadable.ts';
import {
  checkEnvoyDocuments,
  type EnvoyDocument,
  type EnvoyOrigin,
  envoyDocumentOf,
  PROXY_DOCUMENTS,
  readEnvoyDocument,
} from './stored.ts';

/** What a sync gives beside the document. */
export interface EnvoyOrder {
  readonly origin?: EnvoyOrigin | undefined;
  /** The text that was looked at, null where there was none: of another one it is a `conflict`. */
  readonly was?: string | null | undefined;
}

export interface EnvoyDocumentsOptions {
  readonly store: IdentityStore;
  readonly recorder: Recorder;
  readonly timers: Timers;
  readonly onFault: (error: unknown) => void;
}

/** Which ports Envoys listen on for each workload, and whom they call: the documents that our own proxy reads from a file. */
export class EnvoyDocuments {
  readonly #recorder: Recorder;
  readonly #store: Pick<IdentityStore, 'documents'>;
  readonly #versions = new Map<string, number>();
  readonly #following: Following;
  #last: Promise<unknown> = Promise.resolve();
  readonly #listeners = new Set<(workload: SpiffeId) => void>();
  readonly #all = new Map<SpiffeId, EnvoyDocument>();
  readonly #unreadable: Unreadable;

  private constructor({ store, recorder, timers, onFault }: EnvoyDocumentsOptions) {
    this.#store = store;
    this.#recorder = recorder;
    this.#unreadable = new Unreadable(PROXY_DOCUMENTS, onFault);
    this.#following = new Following(timers, onFault);
  }

  /** Throws `state` where a document cannot be read: Envoys would be told to listen nowhere. */
  static async open(options: EnvoyDocumentsOptions): Promise<EnvoyDocuments> {
    const made = new EnvoyDocuments(options);
    await checkEnvoyDocuments(options.store);
    await made.follow();
    made.#following.on(['proxy'], () => made.follow(), { alsoOwn: true });
    await made.#following.start(options.store);
    return made;
  }

  close(): void {
    this.#following.stop();
  }

  /** Throws `unavailable` where the document of a workload cannot be read: where its Envoys are to listen is not known here. */
  checkReadable(workload: SpiffeId): void {
    this.#unreadable.check(workload);
  }

  /** Throws `unavailable` where some document cannot be read. */
  checkAllReadable(): void {
    this.#unreadable.checkAll();
  }

  /**
   * Takes over what other control planes have applied and removed. What cannot be read stays as it was. Throws what the store
   * throws.
   */
  follow(): Promise<void> {
    return this.#inTurn(async () => {
      const documents = await this.#store.documents('proxy');
      const names = new Set(documents.map(({ name }) => name));
      for (const document of documents)
        if (this.#versions.get(document.name) !== document.version) this.#take(document);
      for (const name of [...this.#versions.keys(), ...this.#unreadable.names]) {
        if (names.has(name)) continue;
        this.#versions.delete(name);
        this.#unreadable.delete(name);
        const workload = spiffeIdOf(name);
        if (workload !== undefined && this.#all.delete(workload)) this.#changed(workload);
      }
    });
  }

  #take(document: StoredDocument): void {
    const { name, version } = document;
    let found: EnvoyDocument;
    try {
      found = envoyDocumentOf(document);
    } catch (error) {
      this.#unreadable.add(document, error);
      return;
    }
    // Only now: what is given here must not write over what cannot be read.
    this.#versions.set(name, version);
    this.#unreadable.delete(name);
    this.#all.set(found.workload, found);
    this.#changed(found.workload);
  }

  get all(): ReadonlyMap<SpiffeId, EnvoyDocument> {
    return this.#all;
  }

  /** Adds the document of a workload, or replaces it. Throws `invalid_document`, also for what Envoy cannot do. */
  async apply(
    who: Actor,
    text: string,
    file: string,
    { origin, was }: EnvoyOrder = {},
  ): Promise<EnvoyDocument> {
    const made = { ...readEnvoyDocument(text, file), ...(origin === undefined ? {} : { origin }) };
    checkEnvoyRoutes(made.workload, made.document);
    const recorder = this.#recorder;
    await this.#inTurn(async () => {
      this.checkReadable(made.workload);
      if (was !== undefined && (this.#all.get(made.workload)?.text ?? null) !== was)
        throw new InterlockError(
          'conflict',
          made.workload,
          `the Proxy of ${made.workload} was changed meanwhile: look again`,
        );
      const expect = this.#versions.get(made.workload) ?? 0;
      await recorder.commit(
        [
          {
            change: 'put',
            kind: 'proxy',
            name: made.workload,
            data: origin === undefined ? text : { text, origin },
            expect,
          },
        ],
        recorder.entry(who, 'proxy.apply', made.workload, origin ?? {}),
      );
      this.#versions.set(made.workload, expect + 1);
      this.#all.set(made.workload, made);
      this.#changed(made.workload);
    });
    return made;
  }

  /** Takes the document of a workload away: its Envoys listen no more. Throws `not_found`. */
  async remove(who: Actor, workload: SpiffeId): Promise<void> {
    const recorder = this.#recorder;
    await this.#inTurn(async () => {
      this.checkReadable(workload);
      if (!this.#all.has(workload))
        throw new InterlockError('not_found', workload, `there is no Proxy of ${workload}`);
      const expect = this.#versions.get(workload) ?? 0;
      await recorder.commit(
        [{ change: 'remove', kind: 'proxy', name: workload, expect }],
        recorder.entry(who, 'proxy.remove', workload),
      );
      this.#versions.delete(workload);
      this.#all.delete(workload);
      this.#changed(workload);
    });
  }

  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#last.then(step);
    this.#last = done.catch(() => {});
    return done;
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

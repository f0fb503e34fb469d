import { z } from 'zod';
import { InterlockError, parseSpiffeId, type SpiffeId, spiffeIdOf } from '../../../access/index.ts';
import { checkEnvoyRoutes } from '../../../engines/envoy/resources/index.ts';
import { type ProxyDocument, readProxyDocument } from '../../../proxy/document/index.ts';
import type { IdentityStore, Json } from '../../../store/index.ts';
import { Following } from '../../identity/following.ts';
import type { Actor, Recorder } from '../../identity/recorder.ts';
import type { Timers } from '../../timers.ts';

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
const keptSchema = z.strictObject({ text: z.string(), origin: originSchema });

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
  readonly unreadable = new Map<string, string>();

  private constructor(store: Pick<IdentityStore, 'documents'>, recorder: Recorder, following: Following) {
    this.#store = store;
    this.#recorder = recorder;
    this.#following = following;
  }

  static async open({ store, recorder, timers, onFault }: EnvoyDocumentsOptions): Promise<EnvoyDocuments> {
    const following = new Following(timers, onFault);
    const made = new EnvoyDocuments(store, recorder, following);
    await made.follow();
    following.on(['proxy'], () => made.follow(), { alsoOwn: true });
    await following.start(store);
    return made;
  }

  close(): void {
    this.#following.stop();
  }

  /** Takes over what other control planes have applied and removed. Throws what the store throws. */
  follow(): Promise<void> {
    return this.#inTurn(async () => {
      const documents = await this.#store.documents('proxy');
      const names = new Set(documents.map(({ name }) => name));
      for (const { name, version, data } of documents)
        if (this.#versions.get(name) !== version) this.#take(name, version, data);
      for (const name of this.#versions.keys()) {
        if (names.has(name)) continue;
        this.#versions.delete(name);
        this.unreadable.delete(name);
        const workload = spiffeIdOf(name);
        if (workload !== undefined && this.#all.delete(workload)) this.#changed(workload);
      }
    });
  }

  #take(name: string, version: number, data: Json): void {
    this.#versions.set(name, version);
    try {
      const workload = parseSpiffeId(name);
      // One that was given by hand is its text alone.
      const kept = typeof data === 'string' ? { text: data } : keptSchema.parse(data);
      this.#all.set(workload, { ...kept, ...read(kept.text, name) });
      this.unreadable.delete(name);
      this.#changed(workload);
    } catch (error) {
      this.unreadable.set(name, error instanceof Error ? error.message : String(error));
    }
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
    const made = { ...read(text, file), ...(origin === undefined ? {} : { origin }) };
    checkEnvoyRoutes(made.workload, made.document);
    const recorder = this.#recorder;
    await this.#inTurn(async () => {
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

function read(text: string, file: string): EnvoyDocument {
  const document = readProxyDocument(text, file);
  if (document.workload === undefined)
    throw new InterlockError('invalid_document', file, `${file}: spec.workload says whose Envoy it is`);
  return { workload: document.workload, document, text };
}

import { Worker } from 'node:worker_threads';
import { InterlockError } from '../../../access/index.ts';
import { type OnCommit, Watchers } from '../../commits.ts';
import type { IdentityStore, OnLead } from '../../identity-store.ts';
import type { FromThread, Outcome, SentError, Start, ToThread } from './messages.ts';
import type { IdentityStoreOptions } from './open.ts';
import type { Call, NewCommit, Operation } from './operations.ts';

/** Calls that are made in one transaction at most. */
const MAX_BATCH = 2000;

interface Waiting {
  readonly call: Call;
  readonly settle: (outcome: Outcome) => void;
}

/**
 * Opens the identity database of a state directory in a thread of its own. Errors: `not_found`, `io`,
 * `state` (damaged, newer, held by another process).
 */
export async function openIdentityStore(
  dir: string,
  options: IdentityStoreOptions = {},
): Promise<IdentityStore> {
  const store = new SqliteIdentityStore({ dir, options });
  await store.opened();
  return store;
}

/** The calls of the control plane on their way to the thread, gathered while a batch is under way. */
class SqliteIdentityStore implements IdentityStore {
  readonly #worker: Worker;
  readonly #dir: string;
  readonly #opened = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  #waiting: Waiting[] = [];
  #underWay: Waiting[] = [];
  #broken: Error | undefined;
  readonly #watchers = new Watchers();

  constructor(start: Start) {
    // Sources run as .ts and the built program as .js: the thread's file has this file's extension.
    const url = new URL(`./thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);
    this.#dir = start.dir;
    this.#worker = new Worker(url, { workerData: start, execArgv: [] });
    this.#worker.on('message', (message: FromThread) => this.#receive(message));
    this.#worker.on('error', (error) =>
      this.#break(error instanceof Error ? error : new Error(String(error))),
    );
    this.#worker.on('exit', () => {
      this.#break(new InterlockError('state', this.#dir, `the identity database in ${this.#dir} is closed`));
      this.#ended.resolve();
    });
  }

  opened(): Promise<void> {
    return this.#opened.promise;
  }

  commit = this.#operation('commit');
  documents = this.#operation('documents');
  takeJoinToken = this.#operation('takeJoinToken');
  joinTokens = this.#operation('joinTokens');
  useToken = this.#operation('useToken');
  agents = this.#operation('agents');
  issued = this.#operation('issued');
  liveCounts = this.#operation('liveCounts');
  revocations = this.#operation('revocations');
  audit = this.#operation('audit');
  verifyAudit = this.#operation('verifyAudit');
  prune = this.#operation('prune');

  async watch(onCommit: OnCommit): Promise<() => void> {
    if (this.#broken !== undefined) throw this.#broken;
    return this.#watchers.add(onCommit);
  }

  /** This process alone has the database. */
  async lead(onLead: OnLead): Promise<() => Promise<void>> {
    if (this.#broken !== undefined) throw this.#broken;
    onLead(true);
    return async () => {};
  }

  /** Ends after what was asked before is done. */
  async close(): Promise<void> {
    while (this.#broken === undefined && this.#underWay.length > 0) {
      await new Promise<void>((resolve) => {
        this.#waiting.push({ call: { operation: 'documents', args: ['setting'] }, settle: () => resolve() });
      });
    }
    if (this.#broken === undefined) this.#post({ close: true });
    await this.#ended.promise;
  }

  #operation<Name extends Operation>(operation: Name): IdentityStore[Name] {
    const send = (...args: Parameters<IdentityStore[Name]>) =>
      new Promise((resolve, reject) => {
        const settle = (outcome: Outcome) =>
          'error' in outcome ? reject(received(outcome.error)) : resolve(outcome.value);
        if (this.#broken !== undefined) {
          reject(this.#broken);
          return;
        }
        this.#waiting.push({ call: { operation, args }, settle });
        if (this.#underWay.length === 0) this.#send();
      });
    // The thread answers an operation with the value that its row of the table gives.
    return send as unknown as IdentityStore[Name];
  }

  #send(): void {
    this.#underWay = this.#waiting.splice(0, MAX_BATCH);
    if (this.#underWay.length > 0) this.#post({ calls: this.#underWay.map(({ call }) => call) });
  }

  #post(message: ToThread): void {
    this.#worker.postMessage(message, []);
  }

  #receive(message: FromThread): void {
    switch (message.kind) {
      case 'ready':
        this.#opened.resolve();
        break;
      case 'failed':
        this.#opened.reject(received(message.error));
        break;
      case 'outcomes': {
        const done = this.#underWay;
        this.#send();
        for (const [i, { call, settle }] of done.entries()) {
          const outcome = message.outcomes[i];
          if (call.operation === 'commit' && outcome !== undefined && 'value' in outcome) {
            // What `commit` of the thread's table gives.
            const commit = outcome.value as NewCommit | undefined;
            if (commit !== undefined) this.#watchers.tell({ ...commit, own: true });
            settle({ value: undefined });
          } else settle(outcome ?? { error: { subject: this.#dir, message: 'an answer is missing' } });
        }
      }
    }
  }

  #break(error: Error): void {
    this.#broken ??= error;
    this.#opened.reject(this.#broken);
    const lost = [...this.#underWay, ...this.#waiting];
    this.#underWay = [];
    this.#waiting = [];
    const sent: SentError = { code: 'state', subject: this.#dir, message: this.#broken.message };
    for (const { settle } of lost) settle({ error: sent });
  }
}

function received({ code, subject, message }: SentError): Error {
  return code === undefined ? new Error(message) : new InterlockError(code, subject, message);
}

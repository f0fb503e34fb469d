import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import { isInterlockError } from '../../access/index.ts';
import type { Api } from '../control/api.ts';

/** How long a turn lasts unless it is kept, and how often it is; milliseconds. */
const TURN_MS = 60_000;
const KEEP_MS = 20_000;
/** A run that ends by itself is waited for so long, and looked at so often. */
const PATIENCE_MS = 120_000;
const ASK_MS = 500;

/** What is told of a run with its turn. */
export interface TurnState {
  readonly commit?: string | undefined;
  readonly branch?: string | undefined;
  readonly fault?: string | undefined;
}

/** The turn of one run to sync from a source: while it has it, no other run of that source changes anything. */
export class Turn {
  readonly holder: string = randomUUID();
  readonly #api: Api;
  readonly #kind: 'once' | 'watch';
  readonly #onWait: (why: string) => void;
  #source = '';
  #state: TurnState = {};
  #timer: NodeJS.Timeout | undefined;
  #keeping: Promise<void> = Promise.resolve();

  /** `onWait` is told once of a run that has it, and is waited for. */
  constructor(api: Api, kind: 'once' | 'watch', onWait: (why: string) => void = () => {}) {
    this.#api = api;
    this.#kind = kind;
    this.#onWait = onWait;
  }

  /** Takes it, or keeps it. Throws `conflict` where another run has it, and what the control plane answers. */
  async take(source: string, state: TurnState, signal?: AbortSignal): Promise<void> {
    if (this.#source !== '' && this.#source !== source) await this.giveBack();
    const until = performance.now() + PATIENCE_MS;
    for (let isFirst = true; ; isFirst = false) {
      try {
        // What was wrong stays said until the run has come to its end.
        this.#state = { ...state, fault: this.#state.fault };
        await this.#say(source, TURN_MS);
        break;
      } catch (error) {
        // A watch has it for as long as it runs; a run that ends by itself is only waited for.
        const isOther = isInterlockError(error) && error.code === 'conflict';
        const mayWait = isOther && error.details?.['turn'] !== 'watch' && this.#kind === 'once';
        if (!mayWait || performance.now() > until) throw error;
        if (isFirst) this.#onWait(error.message);
        await wait(ASK_MS, undefined, { signal });
      }
    }
    this.#source = source;
    this.#timer ??= setInterval(() => (this.#keeping = this.#keep()), KEEP_MS).unref();
  }

  /** Says why nothing is applied now, or that all is well; where that cannot be said now, it is with the next word. */
  async note(fault: string | undefined): Promise<void> {
    if (this.#source === '' || this.#state.fault === fault) return;
    this.#state = { ...this.#state, fault };
    await this.#keep();
  }

  /** Gives it back; where the control plane is away, it ends by itself. */
  async giveBack(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    const source = this.#source;
    this.#source = '';
    // What is under way would take it again.
    await this.#keeping;
    if (source === '') return;
    await this.#say(source, 0).catch(ended);
  }

  async #keep(): Promise<void> {
    // Where that cannot be done, or another run has it by now, the next thing that is to be changed is refused.
    if (this.#source !== '') await this.#say(this.#source, TURN_MS).catch(ended);
  }

  async #say(source: string, forMs: number): Promise<void> {
    const { commit, branch, fault } = this.#state;
    await this.#api.call('syncs.take', {
      body: {
        source,
        holder: this.holder,
        kind: this.#kind,
        host: hostname().slice(0, 253),
        ...(commit === undefined ? {} : { commit }),
        ...(branch === undefined ? {} : { branch }),
        ...(fault === undefined ? {} : { fault: fault.slice(0, 1000) }),
        forMs,
      },
    });
  }
}

function ended(error: unknown): void {
  if (!isInterlockError(error)) throw error;
}

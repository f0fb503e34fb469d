import { relative } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import type { Received } from '../src/api/index.ts';
import { isInterlockError } from '../src/access/index.ts';
import { main } from '../src/cli/cli.ts';
import { failedIn } from '../src/cli/commands/enforcement/checks.ts';
import type { Api } from '../src/cli/control/api.ts';
import { followChange, type Progress } from '../src/cli/control/change.ts';
import { Terminal } from '../src/cli/terminal.ts';
import { type Plane, signInLink } from './control-plane.ts';
import type { Shop } from './estate.ts';
import { ROOT } from './place.ts';
import { idOf, nameOf, PROTECTED } from './services.ts';
import type { Estate } from './supervisor.ts';
import type { Teller } from './teller.ts';

export type Access = Received<'accesses.list'>['accesses'][number];
export type Proposal = Received<'proposals.get'>;

const LOOK_MS = 150;
/** How long anything of the story may take, on a machine that has much else to do. */
const PATIENCE_MS = 60_000;
const START_MS = 120_000;
const CONFIRM_MS = 20_000;
/** Proxies report once a second. */
const REPORT_MS = 1000;
/** Rounds of each caller (a session with an order, a report) after which a step counts as watched. */
const ROUNDS = 2;

/** What every step works with: the estate, its control plane, and whoever tells the story. */
export class Scene {
  readonly tell: Teller;
  readonly estate: Estate;
  /** When the first access was known: milliseconds since the start. */
  firstAccessMs = 0;
  #plane: Plane | undefined;
  #shop: Shop | undefined;

  readonly #signal: AbortSignal;

  constructor(tell: Teller, estate: Estate, signal: AbortSignal) {
    this.tell = tell;
    this.estate = estate;
    this.#signal = signal;
  }

  /** Starts the control plane. */
  async startPlane(): Promise<void> {
    this.#plane = await this.#inTime('the control plane serves', this.estate.startPlane());
  }

  /** Starts everything else. */
  async startShop(): Promise<void> {
    const shop = this.estate.startShop(started(this.#plane));
    this.#shop = await this.#inTime('every proxy is connected and every program serves', shop);
  }

  /** What begins and tells nobody that it never will. */
  async #inTime<T>(what: string, begun: Promise<T>): Promise<T> {
    const over = new AbortController();
    const late = pause(START_MS, undefined, { signal: over.signal }).then(() => {
      const last = this.estate.children.lastWords.join('\n');
      throw new Error(
        `it did not come in ${START_MS / 1000} s: ${what}. What each process said last:\n${last}`,
      );
    });
    // Ended where it is not needed any more.
    late.catch(() => {});
    try {
      return await Promise.race([begun, late]);
    } finally {
      over.abort();
    }
  }

  get shop(): Shop {
    return started(this.#shop);
  }

  get api(): Api {
    return started(this.#plane).api;
  }

  /** A link that signs one person in to the console, once; undefined where there is none. */
  signInLink(): Promise<string | undefined> {
    return signInLink(started(this.#plane));
  }

  /** The state directory as a person in the checkout would type it. */
  get state(): string {
    const { state } = started(this.#plane);
    const short = relative(ROOT, state);
    return short.startsWith('..') ? state : short;
  }

  /** Where policies are written, the same way. */
  get policies(): string {
    return this.state.replace(/state$/, 'policies');
  }

  /** Shows what a person would type for the same. */
  command(text: string): void {
    this.tell.command(`npx interlock ${text} --state ${this.state}`);
  }

  /** Runs a command of the command line on this state; gives what it printed. Throws where it does not end with 0. */
  async run(...argv: readonly string[]): Promise<string> {
    const printed: string[] = [];
    const stream = new Writable({
      write(chunk, _encoding, done) {
        printed.push(String(chunk));
        done();
      },
    });
    const { state } = started(this.#plane);
    const terminal = new Terminal(stream, stream, {});
    const code = await main([...argv, '--state', state], { terminal, now: Date.now });
    if (code !== 0) throw new Error(`interlock ${argv.join(' ')} ended with ${code}:\n${printed.join('')}`);
    return printed.join('');
  }

  /** Looks again and again until there is something. Throws where that takes too long, or a process ends. */
  async until<T>(what: string, look: () => Promise<T | false>): Promise<T> {
    const end = Date.now() + PATIENCE_MS;
    const looking = async () => {
      for (;;) {
        this.#signal.throwIfAborted();
        const found = await look();
        if (found !== false) return found;
        if (Date.now() > end) throw new Error(`it did not come in ${PATIENCE_MS / 1000} s: ${what}`);
        await pause(LOOK_MS);
      }
    };
    return Promise.race([looking(), this.estate.children.died]);
  }

  /** Every access of services of the shop that the control plane knows. */
  async accesses(): Promise<readonly Access[]> {
    const { accesses } = await this.api.call('accesses.list', { query: { view: 'observed', limit: 10_000 } });
    return accesses;
  }

  /** What is proposed for each service that is called. */
  proposals(): Promise<readonly Proposal[]> {
    return Promise.all(
      PROTECTED.map((name) => this.api.call('proposals.get', { params: { workload: idOf(name) } })),
    );
  }

  /** Decides on what there is now: while traffic goes on, what is open may be another thing a moment later. */
  decided<T>(decide: () => Promise<T>): Promise<T> {
    return this.until('a decision on what is open', async () => {
      try {
        return { made: await decide() };
      } catch (error) {
        if (isInterlockError(error) && error.code === 'conflict') return false;
        throw error;
      }
    }).then(({ made }) => made);
  }

  /** The checks that a promotion of a service is refused for now; none where it was made. */
  async refusedFor(name: string, share: number): Promise<readonly string[]> {
    const asked = await this.#ask(name, { to: 'canary', share });
    return 'missing' in asked ? asked.missing : [];
  }

  /**
   * Moves a service to a stage; resolves when its proxies have confirmed. What a gate asks for may come a moment later (a
   * proxy that is about to confirm): it is asked for again, and what is missing for long is said.
   */
  async move(name: string, to: 'shadow' | 'canary', share?: number): Promise<Progress> {
    let missing: readonly string[] = [];
    const change = await this.until(`${name} is moved to ${to}`, async () => {
      const asked = await this.#ask(name, { to, ...(share === undefined ? {} : { share }) });
      if ('change' in asked) return asked.change;
      missing = asked.missing;
      return false;
    }).catch((error: unknown) => {
      throw missing.length === 0 ? error : new Error(`${name} is not moved to ${to}: ${missing.join(', ')}`);
    });
    return this.confirmed(change);
  }

  async #ask(
    name: string,
    body: { readonly to: 'shadow' | 'canary'; readonly share?: number },
  ): Promise<{ readonly change: string } | { readonly missing: readonly string[] }> {
    try {
      return await this.api.call('rollouts.move', { params: { workload: idOf(name) }, body });
    } catch (error) {
      const missing = failedIn(error);
      if (missing === undefined) throw error;
      return { missing: missing.map((check) => check.name) };
    }
  }

  /** Follows a change until every proxy has confirmed. Throws where one does not. */
  async confirmed(change: string): Promise<Progress> {
    const progress = await Promise.race([
      followChange(this.api, change, CONFIRM_MS),
      this.estate.children.died,
    ]);
    const [missing] = progress.waiting;
    if (missing !== undefined) throw new Error(`${missing.key} has not confirmed ${change}`);
    return progress;
  }

  /** Lets traffic go on for a while: every caller goes its rounds, and what was seen is reported. */
  async watch(): Promise<void> {
    const before = this.shop.rounds;
    await this.until('shopping and reports that go on', () => {
      const now = [...this.shop.rounds];
      return Promise.resolve(now.every(([name, rounds]) => rounds >= (before.get(name) ?? 0) + ROUNDS));
    });
    await Promise.race([pause(2 * REPORT_MS), this.estate.children.died]);
  }

  /** Verifies that nobody who should not was refused, from the first call on. */
  legitimate(): void {
    const { calls, failed, failures } = this.shop.tally;
    const found = failed === 0 ? '' : `: ${failures.slice(0, 3).join('; ')}`;
    this.tell.check(
      'no legitimate request has failed',
      failed === 0 && calls > 0,
      `${failed} of ${calls} that shoppers and the nightly job have made${found}`,
    );
  }
}

function started<T>(part: T | undefined): T {
  if (part === undefined) throw new Error('it has not been started yet');
  return part;
}

/** The milliseconds after which the last one confirmed. */
export const lastOf = ({ confirmed }: Progress) => Math.round(Math.max(0, ...confirmed.map(({ ms }) => ms)));

/** Milliseconds as seconds: "8.1 s". */
export const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

/** An access in a few words: "web -> cart, POST /carts/{id}/items :8080". */
export const shown = ({ from, to, text }: Access) => `${nameOf(from)} -> ${nameOf(to)}, ${text}`;

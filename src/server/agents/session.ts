import type { ServerDuplexStream } from '@grpc/grpc-js';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import type { AgentAttributes } from '../../identity/index.ts';
import type { FromAgent, FromServer } from '../../proto/index.ts';
import type { AgentDesk, Replacement } from './desk.ts';
import { bundleState, fromServer, revocationState, ruleState, type ServerMessage } from './messages.ts';
import { retryAfterMs, statusOf } from './status.ts';

export type AgentStream = ServerDuplexStream<FromAgent, FromServer>;

/** Questions of one agent that are worked on at once; more of them wait in its connection. */
const MAX_UNDER_WAY = 64;
/** How long an agent that was away takes to replace the SVIDs of an authority that was tainted meanwhile. */
const MISSED_TAINT_MS = 2000;
/** Serials in one message of an agent. */
const MAX_SERIALS = 100_000;

/** Versions that an agent and its workloads have. */
export interface Confirmed {
  readonly bundles: number;
  readonly rules: number;
  readonly revocations: number;
}

/**
 * One agent's lasting stream. It is sent each state at once and on every change; while its connection is full, states
 * are not queued: it gets the newest ones when it has room. Its questions are answered as they are done.
 */
export class AgentSession {
  readonly agent: AgentAttributes;
  readonly since: number;
  version = '';
  /** It takes IDs of the trust domains to which a cutover moves them. */
  takesTargets = false;
  #confirmed: Confirmed = { bundles: 0, rules: 0, revocations: 0 };
  readonly #stream: AgentStream;
  readonly #desk: AgentDesk;
  readonly #onConfirmed: () => void;
  readonly #onRefused: (error: InterlockError) => void;
  readonly #onFault: (error: unknown) => void;
  readonly #sent = { bundles: 0, rules: 0, revocations: 0 };
  readonly #unsubscribe: (() => void)[] = [];
  /** What the rules that it was sent name beside their own. */
  #targets: readonly string[] = [];
  #greeted = false;
  #full = false;
  #underWay = 0;
  #ended = false;

  constructor(
    stream: AgentStream,
    agent: AgentAttributes,
    desk: AgentDesk,
    options: {
      since: number;
      onConfirmed: () => void;
      onRefused: (error: InterlockError) => void;
      onFault: (error: unknown) => void;
    },
  ) {
    this.agent = agent;
    this.since = options.since;
    this.#stream = stream;
    this.#desk = desk;
    this.#onConfirmed = options.onConfirmed;
    this.#onRefused = options.onRefused;
    this.#onFault = options.onFault;
    stream.on('data', (message: FromAgent) => this.#take(message.message));
    stream.on('drain', () => {
      this.#full = false;
      this.#push();
    });
  }

  get confirmed(): Confirmed {
    return this.#confirmed;
  }

  /** Whether the first message has come. */
  get greeted(): boolean {
    return this.#greeted;
  }

  replace({ authority, overMs }: Replacement): void {
    this.#send({ case: 'replace', value: { authority, overMs } });
  }

  drain(withinMs: number): void {
    this.#send({ case: 'drain', value: { withinMs } });
  }

  /** Ends the stream, with an error or without. */
  end(error?: InterlockError): void {
    if (this.#ended) return;
    this.stop();
    if (error === undefined) this.#stream.end();
    else this.#stream.emit('error', statusOf(error));
  }

  /** The stream has ended: nothing more is sent. */
  stop(): void {
    this.#ended = true;
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe();
  }

  #take(message: FromAgent['message']): void {
    if (this.#ended) return;
    if (!this.#greeted && message.case !== 'hello') {
      this.end(new InterlockError('usage', this.agent.agent.id, 'the first message of a stream is "hello"'));
      return;
    }
    switch (message.case) {
      case 'hello':
        this.version = message.value.version.slice(0, 64);
        this.takesTargets = message.value.takesTargets;
        this.#greet(Number(message.value.rulesVersion));
        this.#reconcile(message.value.held);
        break;
      case 'confirm': {
        const { bundlesVersion, rulesVersion, revocationsVersion } = message.value;
        this.#confirmed = {
          bundles: Number(bundlesVersion),
          rules: Number(rulesVersion),
          revocations: Number(revocationsVersion),
        };
        this.#onConfirmed();
        break;
      }
      case 'dropped': {
        const serials = message.value.serials.slice(0, MAX_SERIALS).map(hex);
        void this.#work(0n, async () => {
          await this.#desk.dropped(this.agent, serials);
          return undefined;
        });
        break;
      }
      case 'signX509': {
        const { request, csr, replaces, spiffeId, rule, attributes } = message.value;
        const old = replaces.length === 0 ? undefined : hex(replaces);
        void this.#work(request, async () => {
          const { takesTargets } = this;
          const asked = { spiffeId, rule, attributes, takesTargets };
          const signed = await this.#desk.signX509(this.agent, asked, csr, old);
          return {
            case: 'signedX509',
            value: { request, chain: [...signed.chain], authority: signed.authority },
          };
        });
        break;
      }
      case 'signJwt': {
        const { request, audience, spiffeId, rule, attributes } = message.value;
        void this.#work(request, async () => {
          const { takesTargets } = this;
          const asked = { spiffeId, rule, attributes, takesTargets };
          const signed = await this.#desk.signJwt(this.agent, asked, audience);
          const { token, issuedAt, expiresAt } = signed;
          return {
            case: 'signedJwt',
            value: { request, token, issuedAt: BigInt(issuedAt), expiresAt: BigInt(expiresAt) },
          };
        });
        break;
      }
      case 'renew': {
        const { request, csr } = message.value;
        void this.#work(request, async () => {
          const signed = await this.#desk.renew(this.agent, csr);
          return {
            case: 'signedX509',
            value: { request, chain: [...signed.chain], authority: signed.authority },
          };
        });
        break;
      }
      case undefined:
        // A message of a newer agent.
        break;
    }
  }

  /** An answer that was lost with a connection left an SVID that nobody holds: it is not live, and holds nothing off. */
  #reconcile(held: readonly Uint8Array[]): void {
    // One that does not say all that it holds is not taken at its word.
    if (held.length > MAX_SERIALS) return;
    const serials = new Set(held.map(hex));
    // What is signed from now on is on its way.
    const at = this.since;
    void this.#work(0n, async () => {
      await this.#desk.holds(this.agent, serials, at);
      return undefined;
    });
  }

  #greet(rulesVersion: number): void {
    if (this.#greeted) return;
    this.#greeted = true;
    const isFresh = this.#desk.takeFresh(this.agent.agent.id);
    const isKnown =
      Number.isSafeInteger(rulesVersion) && this.#desk.ruleNamesSince(rulesVersion) !== undefined;
    if (isKnown && !isFresh) this.#sent.rules = rulesVersion;
    // One agent's fault is not the others': the reader that fails is this stream.
    const push = () => {
      try {
        this.#push();
      } catch (error) {
        this.#onFault(error);
        this.end(new InterlockError('unavailable', this.agent.agent.id, 'a fault of the control plane'));
      }
    };
    this.#unsubscribe.push(
      this.#desk.bundles.subscribe(push),
      this.#desk.rules.subscribe(push),
      this.#desk.revocations.subscribe(push),
    );
    this.#push();
    // Those that were tainted while it was away. It spreads its requests by itself; there is no time to give.
    for (const authority of this.#desk.tainted()) this.replace({ authority, overMs: MISSED_TAINT_MS });
  }

  /** Sends what the agent does not have: trust first, then who is out, then who gets what. */
  #push(): void {
    const { bundles, revocations, rules, trustDomain } = this.#desk;
    if (this.#ended || !this.#greeted) return;
    this.#pushTargets();
    if (!this.#full && this.#sent.bundles !== bundles.current.version) {
      this.#sent.bundles = bundles.current.version;
      this.#send({ case: 'bundles', value: bundleState(bundles.current, trustDomain) });
    }
    if (!this.#full && this.#sent.revocations !== revocations.current.version) {
      this.#sent.revocations = revocations.current.version;
      this.#send({ case: 'revocations', value: revocationState(revocations.current, this.agent.agent.id) });
    }
    if (!this.#full && this.#sent.rules !== rules.current.version) {
      const names = this.#sent.rules === 0 ? undefined : this.#desk.ruleNamesSince(this.#sent.rules);
      this.#sent.rules = rules.current.version;
      this.#send({ case: 'rules', value: ruleState(rules.current, this.agent, names, this.#targets) });
    }
  }

  /**
   * An agent of an earlier version gives a workload the bundles that its rules name, and no others: it gets rules that
   * name the targets, before it confirms the bundles, so that its workloads know those that have moved.
   */
  #pushTargets(): void {
    const { bundles, rules } = this.#desk;
    const { targets } = bundles.current.value;
    if (this.takesTargets || this.#full || this.#targets.join() === targets.join()) return;
    this.#targets = targets;
    this.#sent.rules = rules.current.version;
    this.#send({ case: 'rules', value: ruleState(rules.current, this.agent, undefined, targets) });
  }

  /** Answers one question; while too many are under way, no more of them are read. */
  async #work(request: bigint, work: () => Promise<ServerMessage>): Promise<void> {
    this.#underWay++;
    if (this.#underWay >= MAX_UNDER_WAY) this.#stream.pause();
    let answer: ServerMessage;
    try {
      answer = await work();
    } catch (error) {
      if (!isInterlockError(error) || error.code === 'io' || error.code === 'state') this.#onFault(error);
      else this.#onRefused(error);
      const told = isInterlockError(error)
        ? error
        : new InterlockError(
            'unavailable',
            'control plane',
            'a fault of the control plane; its log says more',
          );
      const { code, message } = told;
      answer = { case: 'refused', value: { request, code, message, retryAfterMs: retryAfterMs(told) } };
    }
    this.#underWay--;
    if (this.#underWay === MAX_UNDER_WAY - 1) this.#stream.resume();
    if (answer !== undefined && request !== 0n) this.#send(answer);
  }

  #send(message: Exclude<ServerMessage, undefined>): void {
    if (this.#ended) return;
    if (!this.#stream.write(fromServer(message))) this.#full = true;
  }
}

const hex = (bytes: Uint8Array) =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');

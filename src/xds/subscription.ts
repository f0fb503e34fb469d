import type { Limits } from './limits.ts';
import { Names } from './names.ts';
import { type Held, isSame, type Resource, versionOf } from './resources.ts';
import type { ResourceType } from './types.ts';
import type { AdsRequest } from './wire.ts';

/** The two protocols: the state of the world, or changes. */
export type Protocol = 'whole' | 'delta';

/** What a proxy is to have of one type. */
export interface Target {
  readonly resources: ReadonlyMap<string, Held>;
  /** Where it is known already. */
  readonly version?: string;
  /** Names of resources that only stay because they may still be in use. */
  readonly kept?: ReadonlySet<string>;
}

/** What is to be sent of one type. */
export interface Update {
  readonly version: string;
  readonly resources: readonly Resource[];
  readonly removed: readonly string[];
  /** Of the resources, those that are new to the proxy, have another version, or were refused before. */
  readonly changed: readonly Resource[];
  /** See {@link Target}. */
  readonly kept: ReadonlySet<string> | undefined;
  /** What the proxy has once it has taken this. */
  readonly after: ReadonlyMap<string, Held>;
}

/** What the proxy said of an answer. */
export type Verdict =
  | { readonly kind: 'accepted'; readonly version: string }
  | { readonly kind: 'refused'; readonly version: string; readonly message: string };

interface InFlight {
  readonly nonce: string;
  readonly version: string;
  /** Names whose lot the proxy decides with its word on the answer. */
  readonly names: readonly string[];
}

/** A name that the proxy was told is not there. */
const ABSENT: Held = { version: '' };
const NOTHING: ReadonlyMap<string, Held> = new Map();

/** What a stream asked for of one type, was sent, and said of it. The last answer is the one that is judged. */
export class Subscription {
  readonly type: ResourceType;
  readonly names: Names;
  readonly #protocol: Protocol;
  #isFirst = true;
  /** State of the world: the version that the proxy says it has, until the first answer. */
  #claimed: string | undefined;
  /** What the proxy has if it took everything that was sent; undefined before the first answer. */
  #sent: ReadonlyMap<string, Held> | undefined;
  /** The same at the time of its last word on it, and of its last good word. */
  #answered: ReadonlyMap<string, Held> = NOTHING;
  #accepted: ReadonlyMap<string, Held> = NOTHING;
  #inFlight: InFlight | undefined;
  #nonce = '';
  /** Names that are due although the proxy has been told of them. */
  readonly #again = new Set<string>();
  /** An answer is due even where nothing changed. */
  #isAnswerDue = false;
  /** Names in the answers that the proxy refused: they go along with the next one. */
  readonly #refused = new Set<string>();
  #isRefused = false;
  /** What was refused changed no name. */
  #isRefusedAsSuch = false;
  /** Versions of what was sent last, and of what was accepted last. */
  sentVersion: string | undefined;
  acceptedVersion: string | undefined;

  constructor(type: ResourceType, protocol: Protocol, limits: Limits) {
    this.type = type;
    this.names = new Names(type, limits);
    this.#protocol = protocol;
  }

  get isInFlight(): boolean {
    return this.#inFlight !== undefined;
  }

  /** Nothing was sent yet, and nothing is known of what the proxy has. */
  get isUnanswered(): boolean {
    return this.#sent === undefined;
  }

  /** The proxy refused the answer that it judged last, and something of it still matters. */
  get isRefused(): boolean {
    if (this.isComplete) return this.#isRefused;
    return this.#refused.size > 0 || (this.#isRefused && this.#isRefusedAsSuch);
  }

  /** An answer holds everything that is asked for, and what is missing in it is gone. */
  get isComplete(): boolean {
    return this.#protocol === 'whole' && this.type.isRoot;
  }

  /** The proxy can be told that something is gone. */
  get canRemove(): boolean {
    return this.#protocol === 'delta' || this.type.isRoot;
  }

  /**
   * What the proxy has under the name, as far as can be known: of an answer that it refused, Envoy and gRPC take
   * what they find good.
   */
  held(name: string): Held | undefined {
    const sent = present(this.#sent?.get(name));
    if (sent === undefined || !this.#refused.has(name)) return sent;
    return present(this.#accepted.get(name)) ?? sent;
  }

  /** The name was sent and not taken away, and the proxy has said something of it since. */
  isAnswered(name: string): boolean {
    return present(this.#sent?.get(name)) !== undefined && present(this.#answered.get(name)) !== undefined;
  }

  /** All of the resources were sent and judged: known at once, where it is known at all. */
  isAllAnswered(resources: ReadonlyMap<string, Held>): boolean {
    return this.#answered === resources && this.#sent === resources;
  }

  /** Names that were sent and not taken away. */
  *sentNames(): Iterable<string> {
    for (const [name, held] of this.#sent ?? NOTHING) if (held !== ABSENT) yield name;
  }

  /** The name is due again if the proxy has it: what refers to it was sent anew, and waits for it. */
  sendAgain(name: string): void {
    if (present(this.#sent?.get(name)) !== undefined) this.#again.add(name);
  }

  /** The next answer is sent even if nothing changed. */
  demandAnswer(): void {
    this.#isAnswerDue = true;
  }

  /** Takes a request in. Gives what it says of the last answer, if it says something new. Throws `limit`. */
  take(request: AdsRequest): Verdict | undefined {
    const isFirst = this.#isFirst;
    const isStale = request.nonce !== this.#nonce;
    // A complete list that was written before the last answer was read is followed by one written after it.
    if (this.#protocol === 'whole' && isStale && !isFirst) return undefined;
    this.#isFirst = false;
    const verdict = isStale ? undefined : this.#judge(request);
    if (this.#protocol === 'delta') this.#takeChanges(request, isFirst);
    else {
      if (isFirst) this.#claimed = request.version;
      this.names.replace(request.names);
    }
    this.#forgetUnasked();
    return verdict;
  }

  #judge({ refusal, version }: AdsRequest): Verdict | undefined {
    const answer = this.#inFlight;
    // Only the first request with a nonce judges the answer; later ones change names.
    if (answer === undefined) return undefined;
    this.#inFlight = undefined;
    this.#answered = this.#sent ?? NOTHING;
    const keepsOther = this.#protocol === 'whole' && version !== answer.version;
    this.#isRefused = refusal !== undefined || keepsOther;
    if (!this.#isRefused) {
      this.#accepted = this.#answered;
      this.acceptedVersion = answer.version;
      return { kind: 'accepted', version: answer.version };
    }
    this.#isRefusedAsSuch = answer.names.length === 0;
    for (const name of answer.names) if (this.names.has(name)) this.#refused.add(name);
    const kept = `the proxy gave no reason, and kept version "${version.slice(0, 80)}"`;
    return { kind: 'refused', version: answer.version, message: refusal ?? kept };
  }

  #takeChanges({ names: subscribe, unsubscribe, known }: AdsRequest, isFirst: boolean): void {
    const wasWildcard = this.names.isWildcard;
    const wasNamed = unsubscribe.filter((name) => this.names.named.has(name));
    this.names.change(subscribe, unsubscribe);
    if (isFirst) {
      if (known.size === 0) return;
      this.#keeps(new Map([...known].map(([name, version]): [string, Held] => [name, { version }])));
      return;
    }
    // It may have forgotten what it asks for again ("Subscribing to resources").
    for (const name of subscribe) if (this.#sent?.has(name)) this.#again.add(name);
    // It cannot know whether "everything" still covers the name ("Unsubscribing from resources").
    if (wasWildcard && this.names.isWildcard) for (const name of wasNamed) this.#again.add(name);
  }

  /** What the proxy has from a stream before. */
  #keeps(resources: ReadonlyMap<string, Held>): void {
    this.#sent = resources;
    this.#answered = resources;
    this.#accepted = resources;
  }

  /** A proxy forgets by itself what it no longer asks for. */
  #forgetUnasked(): void {
    if (this.names.isWildcard) return;
    this.#forget((name) => this.names.has(name));
  }

  #forget(isKept: (name: string) => boolean): void {
    if (this.#sent !== undefined && [...this.#sent.keys()].some((name) => !isKept(name)))
      this.#sent = new Map([...this.#sent].filter(([name]) => isKept(name)));
    for (const name of this.#again) if (!isKept(name)) this.#again.delete(name);
    const refused = this.#refused.size;
    for (const name of this.#refused) if (!isKept(name)) this.#refused.delete(name);
    // The rest may have been refused for the sake of those that are gone.
    if (this.#refused.size < refused) for (const name of this.#refused) this.#again.add(name);
  }

  /** What is to be sent so that the proxy has the target; undefined where it has it, or has refused it. */
  update(target: Target): Update | undefined {
    const { resources } = target;
    if (this.#has(target)) return undefined;
    // What a proxy cannot be told to be gone, it forgets with what referred to it.
    if (!this.canRemove) this.#forget((name) => resources.has(name));
    const isNew = ([name, held]: [string, Held]) => this.#sent?.get(name)?.version !== held.version;
    const fresh = [...resources].filter(isNew);
    const gone = this.#gone(resources);
    const again = without(this.#again, target.kept);
    const isDue = this.#isAnswerDue || again.size > 0 || this.#isFirstDue();
    if (fresh.length + gone.size === 0 && !isDue) return undefined;
    // What was refused goes along with what is new, for a refusal does not say which of them is bad; and so does what
    // has not been judged, for the word on an answer that was overtaken does not count.
    const unsure = without(this.#refused.union(new Set(this.#inFlight?.names)), target.kept);
    const names = new Set([...fresh.map(([name]) => name), ...unsure]);
    const isGone = (name: string) => !resources.has(name);
    return {
      version: target.version ?? versionOf(resources),
      resources: resourcesOf(resources, this.isComplete ? resources.keys() : names.union(again)),
      removed: this.#protocol === 'delta' ? [...gone.union(again).union(unsure)].filter(isGone) : [],
      changed: resourcesOf(resources, names),
      kept: target.kept,
      after: this.#after(resources),
    };
  }

  /** The update has been given to the stream, under this nonce. */
  sent({ version, resources, changed, removed, kept, after }: Update, nonce: string): void {
    this.#sent = after;
    this.#nonce = nonce;
    const isOver = (name: string) => this.isComplete || kept?.has(name) !== true;
    // What is kept for now goes along with the first answer after that.
    for (const name of [...this.#refused, ...(this.#inFlight?.names ?? [])]) {
      if (isOver(name)) this.#refused.delete(name);
      else this.#again.add(name);
    }
    for (const name of this.#again) if (isOver(name)) this.#again.delete(name);
    const carried = this.isComplete ? changed : resources;
    this.#inFlight = { nonce, version, names: [...carried.map(({ name }) => name), ...removed] };
    this.#isAnswerDue = false;
    this.sentVersion = version;
  }

  /** Found at once where nothing changed; otherwise by what is the same under another name. */
  #has({ resources, version }: Target): boolean {
    if (this.#again.size > 0 || this.#isAnswerDue) return false;
    if (this.#sent === resources) return true;
    // A version is a hash of all: with everything asked for, it says what the proxy has.
    if (
      this.#sent === undefined &&
      this.names.isWildcard &&
      version !== undefined &&
      version === this.#claimed
    )
      this.#keeps(resources);
    if (this.#sent === undefined || !isSame(this.#sent, resources) || this.#gone(resources).size > 0)
      return false;
    if (this.#answered === this.#sent && !this.isRefused) {
      this.#answered = resources;
      this.#accepted = resources;
      this.sentVersion = version ?? versionOf(resources);
      this.acceptedVersion = this.sentVersion;
    }
    this.#sent = resources;
    return true;
  }

  /** A proxy that asks for everything starts with the first answer, were it empty. */
  #isFirstDue(): boolean {
    return this.#sent === undefined && this.names.isWildcard;
  }

  /** Names that the proxy has and is to forget, or (delta) asks for and does not know to be absent. */
  #gone(resources: ReadonlyMap<string, Held>): Set<string> {
    const names = new Set<string>();
    if (!this.canRemove) return names;
    for (const name of this.sentNames()) if (!resources.has(name)) names.add(name);
    if (this.#protocol === 'whole') return names;
    for (const name of this.names.named) {
      if (!resources.has(name) && this.#sent?.get(name) !== ABSENT) names.add(name);
    }
    return names;
  }

  #after(resources: ReadonlyMap<string, Held>): ReadonlyMap<string, Held> {
    if (this.#protocol === 'whole') return resources;
    const absent = [...this.names.named].filter((name) => !resources.has(name));
    if (absent.length === 0) return resources;
    return new Map([...resources, ...absent.map((name): [string, Held] => [name, ABSENT])]);
  }
}

function present(held: Held | undefined): Held | undefined {
  return held === ABSENT ? undefined : held;
}

function without(names: ReadonlySet<string>, kept: ReadonlySet<string> | undefined): ReadonlySet<string> {
  return kept === undefined ? names : names.difference(kept);
}

/** The resources of the names. What the proxy has from a stream before, and is to keep for now, has no bytes here. */
function resourcesOf(resources: ReadonlyMap<string, Held>, names: Iterable<string>): Resource[] {
  const found: Resource[] = [];
  for (const name of names) {
    const held = resources.get(name);
    if (held !== undefined && isResource(held)) found.push(held);
  }
  return found;
}

function isResource(held: Held): held is Resource {
  return 'whole' in held;
}

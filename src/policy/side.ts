import type { Principal } from '../access/index.ts';
import type { Caller } from './caller.ts';
import type { Condition } from './condition.ts';
import { CallerTable } from './caller-table.ts';
import { IntTable } from './int-table.ts';
import { PathTree } from './path-tree.ts';
import { type IndexedRule, NEVER, type Probe } from './probe.ts';
import type { Verdict } from './request.ts';
import type { Target } from './target.ts';

/** Targets that are no path. */
const TCP = 0;
const ANY_PATH = 1;
/** Every deny rule about requests: it also closes a connection whose requests cannot be seen. */
const REQUESTS = 2;
const FIRST_PATH = 3;

/** Key for "any" where a port or a method is looked up; methods are numbered from 1. */
const ANY = 0;

/** What rules of a target say about methods: which lookups can find something. */
const SOME_ANY = 1;
const SOME_NAMED = 2;

/** Rules of one exact key of which some have a condition or an end: those, then the first without. */
interface Mixed {
  readonly conditional: IndexedRule[];
  first: number;
}

/**
 * The allow or the deny rules of one workload, indexed. A request is found in three steps, each a lookup:
 * principal and port -> who, path -> targets, (who, target, method) -> the first rule.
 */
export class Side {
  /** By order of the rule: the verdict that names it. One array, so that the way to a verdict is short. */
  readonly #verdicts: Verdict[] = [];
  /** The same for rules that decide although their condition is unknown. */
  readonly #unknown = new Map<number, Verdict>();
  readonly denying: boolean;
  readonly #callers = new CallerTable();
  /** (caller, port) -> who + 1. */
  readonly #who = new IntTable();
  readonly #paths = new PathTree();
  /** By target. */
  readonly #methods: number[] = [0, 0, 0];
  /** (who, target, method) -> order of the rule + 1, or -(index into mixed + 1). */
  readonly #first = new IntTable();
  readonly #mixed: Mixed[] = [];
  readonly #foundCallers: number[] = Array.from({ length: 8 }, () => 0);
  readonly #foundWho: number[] = Array.from({ length: 16 }, () => 0);
  readonly #foundTargets: number[] = Array.from({ length: 16 }, () => 0);

  constructor(denying: boolean) {
    this.denying = denying;
  }

  /** How many rules there are: the order of the next one. */
  get size(): number {
    return this.#verdicts.length;
  }

  /** Starts the next rule: what is added for it is decided with this verdict. */
  rule(verdict: Verdict, condition: Condition | undefined, ends: number): IndexedRule {
    const order = this.#verdicts.push(Object.freeze(verdict)) - 1;
    if (condition !== undefined)
      this.#unknown.set(order, Object.freeze({ ...verdict, conditionUnknown: true }));
    return { order, condition, ends };
  }

  /** Adds what the rule says about one caller and one target. Rules come in document order. */
  add(rule: IndexedRule, caller: Caller, target: Target, methodNumber: (name: string) => number): void {
    const number = this.#callers.numberOf(caller);
    if (number === undefined) return;
    for (const port of target.ports ?? [ANY]) {
      const who = this.#whoOf(number, port);
      if (target.kind === 'tcp') {
        this.#put(rule, who, TCP, ANY);
        continue;
      }
      if (this.denying) this.#put(rule, who, REQUESTS, ANY);
      const targets = target.paths?.map((path) => this.#paths.target(path, () => this.#methods.push(0) - 1));
      for (const path of targets ?? [ANY_PATH]) {
        for (const method of target.methods?.map(methodNumber) ?? [ANY]) this.#put(rule, who, path, method);
      }
    }
  }

  #whoOf(caller: number, port: number): number {
    const known = this.#who.get(caller, port, 0);
    if (known !== 0) return known - 1;
    const who = this.#who.size;
    this.#who.set(caller, port, 0, who + 1);
    return who;
  }

  #put(rule: IndexedRule, who: number, target: number, method: number): void {
    this.#methods[target] = (this.#methods[target] as number) | (method === ANY ? SOME_ANY : SOME_NAMED);
    const known = this.#first.get(who, target, method);
    if (known > 0) return;
    const isAlways = rule.condition === undefined && rule.ends === Number.POSITIVE_INFINITY;
    if (known === 0 && isAlways) {
      this.#first.set(who, target, method, rule.order + 1);
    } else if (known === 0) {
      this.#first.set(who, target, method, -this.#mixed.push({ conditional: [rule], first: NEVER }));
    } else {
      const mixed = this.#mixed[-known - 1] as Mixed;
      if (mixed.first !== NEVER) return;
      if (isAlways) mixed.first = rule.order;
      else if (mixed.conditional.at(-1) !== rule) mixed.conditional.push(rule);
    }
  }

  /** The verdict of the first rule that matches, if one does. */
  search(probe: Probe, from: Principal): Verdict | undefined {
    probe.start(this.denying);
    this.#search(probe, from);
    if (probe.best === NEVER) return undefined;
    return probe.bestUnknown ? this.#unknown.get(probe.best) : this.#verdicts[probe.best];
  }

  #search(probe: Probe, from: Principal): void {
    const who = this.#findWho(from, probe.port);
    if (who === 0) return;
    this.#consider(probe, who, TCP);
    if (probe.opaque) {
      this.#consider(probe, who, REQUESTS);
      return;
    }
    this.#consider(probe, who, ANY_PATH);
    // "*" of OPTIONS has no segments.
    if (this.#methods.length === FIRST_PATH || probe.path.charCodeAt(0) !== 0x2f) return;
    const targets = this.#paths.find(probe.path, this.#foundTargets);
    for (let i = 0; i < targets; i++) this.#consider(probe, who, this.#foundTargets[i] as number);
  }

  /** Port 0 is a port that was not recorded: rules that name ports do not match it. */
  #findWho(from: Principal, port: number): number {
    const callers = this.#callers.find(from, this.#foundCallers);
    let count = 0;
    for (let i = 0; i < callers; i++) {
      const caller = this.#foundCallers[i] as number;
      const any = this.#who.get(caller, ANY, 0);
      if (any !== 0) this.#foundWho[count++] = any - 1;
      const on = port === 0 ? 0 : this.#who.get(caller, port, 0);
      if (on !== 0) this.#foundWho[count++] = on - 1;
    }
    return count;
  }

  #consider(probe: Probe, whoCount: number, target: number): void {
    const methods = this.#methods[target] as number;
    if (methods === 0) return;
    for (let i = 0; i < whoCount; i++) {
      const who = this.#foundWho[i] as number;
      if ((methods & SOME_ANY) !== 0) this.#take(probe, this.#first.get(who, target, ANY));
      if ((methods & SOME_NAMED) !== 0 && probe.method > 0) {
        this.#take(probe, this.#first.get(who, target, probe.method));
      }
    }
  }

  #take(probe: Probe, found: number): void {
    if (found > 0) probe.offer(found - 1);
    else if (found < 0) {
      const { conditional, first } = this.#mixed[-found - 1] as Mixed;
      for (const rule of conditional) if (rule.order >= probe.best || probe.take(rule)) return;
      probe.offer(first);
    }
  }
}

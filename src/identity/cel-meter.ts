import {
  type CelFunc,
  type CelValue,
  celFunc,
  celList,
  celMethod,
  CelScalar,
  isCelError,
  isCelList,
  isCelMap,
  listType,
} from '@bufbuild/cel';
import { MAX_MADE_TEXT } from './cel-strings.ts';

/**
 * Most work that one evaluation may do. A unit is a turn of a loop, a call, 64 characters or bytes that a call is
 * given, or 16 elements of a list: some hundred nanoseconds.
 */
export const MAX_EXPRESSION_WORK = 50_000;

const CHARACTERS = 64;
const ELEMENTS = 16;
/** RE2's own bound on counted repetitions, nested ones multiplied. */
const MAX_REPEAT = 1000;

/** Counts the work of the one evaluation that runs now: evaluations are synchronous. */
class Meter {
  #left = 0;

  begin(): void {
    this.#left = MAX_EXPRESSION_WORK;
  }

  /** False once the work is used up: whoever spends then stops. */
  spend(units: number): boolean {
    this.#left = Math.max(-1, this.#left - units);
    return this.#left >= 0;
  }

  get isUsedUp(): boolean {
    return this.#left < 0;
  }

  /** What the last evaluation has cost; one more than it may where it was stopped. */
  get spent(): number {
    return MAX_EXPRESSION_WORK - this.#left;
  }

  /** Spends what looking at the whole of a value costs; stops, with false, where that is too much. */
  look(value: unknown): boolean {
    if (typeof value === 'string' || value instanceof Uint8Array)
      return this.spend(value.length / CHARACTERS);
    if (isCelList(value) || Array.isArray(value)) {
      for (const item of value as Iterable<unknown>)
        if (!this.spend(1 / ELEMENTS) || !this.look(item)) return false;
    } else if (isCelMap(value) || value instanceof Map) {
      for (const [key, item] of value as Iterable<readonly [unknown, unknown]>)
        if (!this.spend(1 / ELEMENTS) || !this.look(key) || !this.look(item)) return false;
    }
    return !this.isUsedUp;
  }
}

export const meter = new Meter();

/** The same functions, each of which spends before it works and makes nothing that is too large. */
export function metered(functions: Iterable<CelFunc>): CelFunc[] {
  return [...functions, flatSum].map((inner) => {
    const { name, target, arguments: parameters, result } = inner;
    if (target === undefined)
      return celFunc(name, parameters, result, (...args) => worked(inner, undefined, args));
    return celMethod(name, target, parameters, result, function (...args) {
      return worked(inner, this, args);
    });
  });
}

function worked(inner: CelFunc, target: CelValue | undefined, args: CelValue[]): CelValue {
  const isPaid =
    meter.spend(1) &&
    (target === undefined || meter.look(target)) &&
    args.every((arg) =>
      // The elements of lists that are put together are moved, not looked at.
      inner.name === '_+_' && isCelList(arg) ? meter.spend(arg.size / ELEMENTS) : meter.look(arg),
    ) &&
    (inner.name !== 'matches' || meter.spend(matchWork(target ?? args[0], args.at(-1))));
  if (!isPaid) throw new Error(workFault);
  const made = inner.call(0, target, args);
  if (made === undefined) throw new Error(`${inner.name} does not take these`);
  if (isCelError(made)) throw new Error(made.message);
  if (isTooLarge(made)) throw new Error(`a value is larger than ${MAX_MADE_TEXT}`);
  return made;
}

/** Why an evaluation that was stopped has no value. */
export const workFault = `it takes more than ${MAX_EXPRESSION_WORK} steps`;

const LIST = listType(CelScalar.DYN);
/** The package's own sum of lists is a chain: map() makes one as deep as the list is long, slow and recursive to read. */
const flatSum = celFunc('_+_', [LIST, LIST], LIST, (left, right) => celList([...left, ...right]));

function isTooLarge(value: unknown): boolean {
  if (typeof value === 'string' || value instanceof Uint8Array) return value.length > MAX_MADE_TEXT;
  return isCelList(value) && value.size > MAX_MADE_TEXT;
}

/** RE2 compiles the pattern at every call and then takes at most its program's size for each character. */
function matchWork(text: CelValue | undefined, pattern: CelValue | undefined): number {
  if (typeof text !== 'string' || typeof pattern !== 'string') return 0;
  let [single, nested] = [1, 1];
  for (const [, before, least, most] of pattern.matchAll(/(.)\{(\d+)(?:,(\d*))?\}/gs)) {
    const count = Math.max(1, Number(least), Number(most ?? 0));
    if (before === ')') nested = Math.min(MAX_REPEAT, nested * count);
    else single = Math.max(single, count);
  }
  return pattern.length * Math.min(MAX_REPEAT, single * nested) * (0.1 + text.length / 256);
}

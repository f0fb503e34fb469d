/**
 * The four functions of the reflect-metadata proposal that tsyringe, which @peculiar/x509 stands on, calls. Import
 * it before that package. The package of that name would do; nothing else here needs it.
 */
const BOOK = new WeakMap<object, Map<unknown, unknown>>();

function define(key: unknown, value: unknown, target: object): void {
  let entries = BOOK.get(target);
  if (entries === undefined) BOOK.set(target, (entries = new Map()));
  entries.set(key, value);
}

function own(key: unknown, target: object): unknown {
  return BOOK.get(target)?.get(key);
}

function inherited(key: unknown, target: object): unknown {
  for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    if (BOOK.get(at)?.has(key) === true) return own(key, at);
  }
  return undefined;
}

Object.assign(Reflect, {
  defineMetadata: define,
  getMetadata: inherited,
  getOwnMetadata: own,
  metadata: (key: unknown, value: unknown) => (target: object) => define(key, value, target),
});

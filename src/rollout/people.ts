/**
 * Which of the names that sign-ins and commits give are of one person. A name is what its way in says, and says nothing of the
 * names of other ways: who is `local:ann` on the control plane's machine may be the provider's `ann`, and may be somebody else; every
 * link that signs in has a name of its own; a job or a program acts for people whom it does not name. So two names are taken for
 * two people only where that is known: both are subjects of one issuer, or the file of owners says who they are.
 */

/**
 * The person that each name is of, as the file of owners says (`ann = local:ann user:https://id.example#4f2c git:ann@acme.example`).
 * What {@link NOBODY} has is no person's, such as a job that does what others have written; nor is what {@link WITNESS} has.
 */
export type People = ReadonlyMap<string, string>;

const NO_PEOPLE: People = new Map();

/** Somebody has written something, and nobody knows who. */
export const UNKNOWN_AUTHOR = 'git:?';

/** A name that somebody else has told; all others are of who has come here. */
const IN_COMMITS = 'git:';

/** Whose names are no person's. */
const NOBODY = 'nobody';
/** Whose names are no person's either, and who is believed when it says who has written what it brings. */
const WITNESS = 'witness';
/** What the control plane does by itself is nobody's as well. */
const SYSTEM = 'system';

/** The issuer that vouches for a name, which it gives to one person alone; undefined of any other name. */
function issuerOf(name: string): string | undefined {
  // An issuer is a URL without a fragment: the first "#" begins the subject.
  return /^user:([^#]*)#./.exec(name)?.[1];
}

/** Names, told apart by person as far as that is known; see {@link personsOf}. */
class Persons {
  readonly #people: People;
  /** By person of the file, the issuers that know them. */
  readonly #issuers = new Map<string, Set<string>>();

  constructor(people: People) {
    this.#people = people;
    for (const [name, person] of people) {
      const issuer = issuerOf(name);
      const known = this.#issuers.get(person) ?? new Set();
      if (issuer !== undefined) known.add(issuer);
      this.#issuers.set(person, known);
    }
  }

  /** Whether a name is known to be no person's. */
  isNobody(name: string): boolean {
    const person = this.#people.get(name);
    return name === SYSTEM || person === NOBODY || person === WITNESS;
  }

  /**
   * Who has written of something, with somebody unknown beside those who are named: where it was brought by what is no person's, and
   * is not believed. Whom it names are authors all the same, but it could name others to hide the one who was.
   */
  writers(authors: readonly string[]): readonly string[] {
    const isHidden =
      authors.some((author) => this.#people.get(author) === NOBODY && !author.startsWith(IN_COMMITS)) ||
      (authors.length > 0 && authors.every((author) => this.isNobody(author)));
    return isHidden ? [...authors, UNKNOWN_AUTHOR] : authors;
  }

  /** Whether two names are known to be of one person. */
  areOne(a: string, b: string): boolean {
    return a === b || (!this.isNobody(a) && this.#personOf(a) === this.#personOf(b));
  }

  /** Whether two names are known to be of two people. */
  areTwo(a: string, b: string): boolean {
    if (this.areOne(a, b)) return false;
    if (this.isNobody(a) || this.isNobody(b)) return true;
    if (this.#people.has(a) && this.#people.has(b)) return true;
    const other = this.#issuersOf(b);
    return [...this.#issuersOf(a)].some((issuer) => other.has(issuer));
  }

  /** Whether a name is known to be of one of several. */
  isAmong(name: string, names: readonly string[]): boolean {
    return names.some((each) => this.areOne(name, each));
  }

  /**
   * Those of the names that may be of one of `others`, and are not known to be: each person of the file once. Where there are none
   * yet, those that may be anybody's.
   */
  maybeAmong(names: readonly string[], others: readonly string[]): string[] {
    const first = new Map(
      names.filter((name) => !this.isNobody(name)).map((name) => [this.#personOf(name), name]),
    );
    return [...first.values()].filter((name) =>
      others.length === 0
        ? !this.#people.has(name) && this.#issuersOf(name).size === 0
        : others.some((other) => !this.areOne(name, other) && !this.areTwo(name, other)),
    );
  }

  /**
   * The most of these that are known to be different people, each once, in their order; of two groups as large the first. What is
   * no person's is none of them.
   */
  mostApart<T extends { readonly who: string }>(all: readonly T[]): T[] {
    const people = all.filter(({ who }) => !this.isNobody(who));
    const each = people.filter(
      ({ who }, i) => !people.slice(0, i).some((before) => this.areOne(before.who, who)),
    );
    let most = each.slice(0, 1);
    const groups = [
      each.filter(({ who }) => this.#people.has(who)),
      ...new Set(each.flatMap(({ who }) => [...this.#issuersOf(who)])),
    ].map((group) =>
      typeof group === 'string' ? each.filter(({ who }) => this.#issuersOf(who).has(group)) : group,
    );
    for (const group of groups) if (group.length > most.length) most = group;
    return most;
  }

  #personOf(name: string): string {
    const person = this.#people.get(name);
    // No name of a sign-in begins with a space.
    return person === undefined ? name : ` ${person}`;
  }

  #issuersOf(name: string): ReadonlySet<string> {
    const person = this.#people.get(name);
    if (person !== undefined) return this.#issuers.get(person) ?? new Set();
    const issuer = issuerOf(name);
    return issuer === undefined ? new Set() : new Set([issuer]);
  }
}

const made = new WeakMap<People, Persons>();

/** The same of the same file; nobody is known where absent. */
export function personsOf(people: People = NO_PEOPLE): Persons {
  let persons = made.get(people);
  if (persons === undefined) made.set(people, (persons = new Persons(people)));
  return persons;
}

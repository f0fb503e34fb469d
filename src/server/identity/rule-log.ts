/** Versions whose changes are remembered; an agent that was away for longer gets all rules. */
const REMEMBERED = 1000;
/** Names remembered in all. */
const MAX_NAMES = 100_000;

/** Which rules changed with which version, for the newest versions. */
export class RuleLog {
  #entries: { version: number; names: readonly string[] }[] = [];
  #names = 0;
  #version: number;

  /** Nothing is known of what changed before `version`. */
  constructor(version: number) {
    this.#version = version;
  }

  /** Version `version` changed these rules. */
  add(version: number, names: readonly string[]): void {
    this.#version = version;
    this.#entries.push({ version, names });
    this.#names += names.length;
    while (this.#entries.length > REMEMBERED || this.#names > MAX_NAMES) {
      this.#names -= this.#entries.shift()?.names.length ?? 0;
    }
  }

  /** The names that changed after a version, or undefined where that is not known. */
  since(version: number): ReadonlySet<string> | undefined {
    if (version === this.#version) return new Set();
    if (version > this.#version || version < 1) return undefined;
    const later = this.#entries.filter((entry) => entry.version > version);
    // Versions are without gaps: the change to the next version must be among the remembered ones.
    if (later[0]?.version !== version + 1) return undefined;
    return new Set(later.flatMap(({ names }) => names));
  }
}

/** One row of the table that a script prints. */
export interface Row {
  readonly group: string;
  readonly name: string;
  readonly outcome: 'ok' | 'FAILED' | 'left out';
  readonly detail: string;
}

/** Runs checks one after the other, says each at once, and keeps the table. */
export class Checks {
  readonly rows: Row[] = [];
  #group = '';

  /** The program that the next checks are about. */
  group(name: string): void {
    this.#group = name;
    console.log(`\n${name}`);
  }

  /** A check is good when it does not throw. What it returns says what was seen. */
  async check(name: string, run: () => Promise<string> | string): Promise<void> {
    try {
      this.#add(name, 'ok', await run());
    } catch (error) {
      this.#add(name, 'FAILED', error instanceof Error ? error.message : String(error));
    }
  }

  /** A check that could not be made here, and why. */
  leaveOut(name: string, why: string): void {
    this.#add(name, 'left out', why);
  }

  get failed(): number {
    return this.rows.filter(({ outcome }) => outcome === 'FAILED').length;
  }

  #add(name: string, outcome: Row['outcome'], detail: string): void {
    const line = detail.replaceAll(/\s+/g, ' ').trim();
    this.rows.push({ group: this.#group, name, outcome, detail: line });
    console.log(`  ${outcome.padEnd(8)}  ${name}${line === '' ? '' : `: ${line}`}`);
  }
}

/** Throws where `found` is not what was expected; both are shown. */
export function expectSame(what: string, found: unknown, expected: unknown): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what} is ${a}, expected ${b}`);
}

/** Throws with the sentence where something does not hold. */
export function expectThat(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

/** The rows as a Markdown table. */
export function tableOf(rows: readonly Row[]): string {
  const cell = (text: string) => text.replaceAll('|', '\\|');
  return [
    '| program | check | | seen |',
    '|---|---|---|---|',
    ...rows.map(
      ({ group, name, outcome, detail }, index) =>
        `| ${group === rows[index - 1]?.group ? '' : cell(group)} | ${cell(name)} | ${outcome} | ${cell(detail)} |`,
    ),
  ].join('\n');
}

/** How long anything is waited for, in milliseconds: an end to a test that went wrong, and no measure of speed. */
export const DEADLINE_MS = 120_000;

/** Something that happens now and then, and what is waited for in it. */
export class Watched {
  readonly #waiting = new Set<() => void>();

  /** Says that something has happened. */
  changed(): void {
    for (const look of this.#waiting) look();
  }

  /** Resolves with what `find` gives as soon as it gives something; rejects at the deadline with `describe`'s words. */
  until<T>(
    find: () => T | undefined | false,
    what: string,
    describe: () => string = () => '',
  ): Promise<Exclude<T, undefined | false>> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => {
        clearTimeout(deadline);
        this.#waiting.delete(look);
        settle();
      };
      const look = () => {
        try {
          const found = find();
          // What is left after this line is neither undefined nor false.
          if (found !== undefined && found !== false)
            end(() => resolve(found as Exclude<T, undefined | false>));
        } catch (error) {
          end(() => reject(error));
        }
      };
      const deadline = setTimeout(
        () => end(() => reject(new Error(`it did not happen in time: ${what}\n${describe()}`))),
        DEADLINE_MS,
      );
      this.#waiting.add(look);
      look();
    });
  }
}

/** One line of a log. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly fields: Readonly<Record<string, unknown>>;
  /** All of it as text, with the messages of errors. */
  readonly text: string;
}

/** A log that tests read: what an agent or a control plane writes to, in this process or another. */
export class LogLines extends Watched {
  readonly lines: LogLine[] = [];

  info(fields: Readonly<Record<string, unknown>>, msg: string): void {
    this.#add('info', fields, msg);
  }

  warn(fields: Readonly<Record<string, unknown>>, msg: string): void {
    this.#add('warn', fields, msg);
  }

  error(fields: Readonly<Record<string, unknown>>, msg: string): void {
    this.#add('error', fields, msg);
  }

  /** A line of JSON that a process wrote; text that is none is kept as it is. */
  take(line: string): void {
    try {
      const { level, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
      this.#add(String(level), fields, String(msg));
    } catch {
      this.#add('text', {}, line);
    }
  }

  /** The first line, from number `from` on, in which all of the texts stand. */
  line(...texts: readonly string[]): Promise<LogLine> {
    return this.lineFrom(0, ...texts);
  }

  lineFrom(from: number, ...texts: readonly string[]): Promise<LogLine> {
    const fits = ({ text }: LogLine) => texts.every((part) => text.includes(part));
    return this.until(
      () => this.lines.slice(from).find(fits),
      `a line of the log with ${texts.map((text) => `"${text}"`).join(' and ')}`,
      () => this.lines.map(({ text }) => text).join('\n'),
    );
  }

  #add(level: string, fields: Readonly<Record<string, unknown>>, msg: string): void {
    const shown = JSON.stringify(fields, (_, value: unknown) => plain(value));
    this.lines.push({ level, msg, fields, text: `${level} ${msg} ${shown}` });
    this.changed();
  }
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  if (!(value instanceof Error)) return value;
  return { ...value, message: value.message, cause: value.cause instanceof Error ? value.cause.message : '' };
}

import { once } from 'node:events';
import { styleText } from 'node:util';
import { type ListingOptions, listingLines } from './listing.ts';
import { wrap } from './wrap.ts';

/** Widest line of human output, in characters. */
export const WIDTH = 100;

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** A terminal that says it is narrower is taken for one that does not know. */
const LEAST_WIDTH = 40;

type Output = NodeJS.WritableStream & { isTTY?: boolean; columns?: number; writableNeedDrain?: boolean };

/**
 * Where a command prints. `out` takes the result, `err` takes progress and remarks, so that a pipe gets the
 * result alone. Text from outside is printed without its control characters.
 */
export class Terminal {
  readonly out: Output;
  readonly err: Output;
  readonly #env: NodeJS.ProcessEnv;
  readonly #colour: boolean;

  constructor(
    out: Output = process.stdout,
    err: Output = process.stderr,
    env: NodeJS.ProcessEnv = process.env,
  ) {
    this.out = out;
    this.err = err;
    this.#env = env;
    this.#colour = out.isTTY === true && env.NO_COLOR === undefined && env.TERM !== 'dumb';
  }

  /** Where remarks go while `out` takes documents that a program reads (`> policies.yaml`). */
  aside(): Terminal {
    return new Terminal(this.err, this.err, this.#env);
  }

  paint(style: Style, text: string): string {
    return this.#colour ? styleText(style, text, { validateStream: false }) : text;
  }

  line(text = ''): void {
    this.out.write(`${text}\n`);
  }

  /** One JSON value on one line. What a terminal would act on is escaped, which changes no value. */
  json(value: unknown): void {
    this.out.write(`${printable(JSON.stringify(value))}\n`);
  }

  /** Waits for the reader of `out` where it is behind: what it has not taken would pile up in memory. */
  async drained(): Promise<void> {
    if (this.out.writableNeedDrain === true) await once(this.out, 'drain');
  }

  heading(text: string): void {
    this.line();
    this.line(this.paint('bold', printable(text)));
  }

  /** Prose, wrapped at {@link WIDTH} or the terminal's where that is less, every line indented. */
  prose(text: string, indent = 0): void {
    const width = Math.min(WIDTH, columnsOf(this.out) ?? WIDTH);
    for (const line of wrap(printable(text), width - indent)) this.line(' '.repeat(indent) + line);
  }

  /** What went wrong, on `err`. */
  complain(message: string): void {
    this.remark(`interlock: ${message}`);
  }

  /** What a person should know beside the result, on `err`, wrapped as {@link prose} is. */
  remark(text: string): void {
    const width = Math.min(WIDTH, columnsOf(this.err) ?? WIDTH);
    this.err.write(`${wrap(printable(text), width).join('\n')}\n`);
  }

  /** A list of named things under a heading: as wide as the terminal, and one line a row for a pipe. */
  listing(rows: readonly (readonly string[])[], options: ListingOptions = {}): void {
    const cells = rows.map((row) => row.map((cell) => printable(cell)));
    const room = columnsOf(this.out) ?? Number.POSITIVE_INFINITY;
    for (const [i, lines] of listingLines(cells, room, options).entries())
      for (const line of lines) this.line(i === 0 ? this.paint('dim', line) : line);
  }

  /** A table: the first row is the heading, unless `heading` is false. Columns that do not fit are wrapped, never cut. */
  table(
    rows: readonly (readonly string[])[],
    options: { right?: readonly number[]; indent?: number; heading?: boolean } = {},
  ): void {
    for (const [i, line] of tableLines(rows, options).entries()) {
      this.line(i === 0 && options.heading !== false ? this.paint('dim', line) : line);
    }
  }
}

/**
 * What moves a terminal's cursor, ends a line, or reorders or hides text: controls, formats (bidi marks), lone
 * surrogates, separators of lines, and what Unicode lets a font show as nothing.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** The text with each such character as the escapes `\uXXXX` of its UTF-16 units, as JSON and YAML read them. */
export function printable(text: string): string {
  return text.replaceAll(UNPRINTABLE, (c) =>
    c
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  );
}

/** How wide a terminal is, in characters; undefined for a pipe or file. */
function columnsOf({ isTTY, columns = 0 }: Output): number | undefined {
  if (isTTY !== true) return undefined;
  return columns < LEAST_WIDTH ? WIDTH : columns;
}

function tableLines(
  rows: readonly (readonly string[])[],
  { right = [], indent = 2 }: { right?: readonly number[]; indent?: number },
): string[] {
  const cells = rows.map((row) => row.map((cell) => printable(cell)));
  const columns = Math.max(0, ...cells.map((row) => row.length));
  const widths = columnWidths(cells, columns, WIDTH - indent - 2 * (columns - 1));
  const lines: string[] = [];
  for (const row of cells) {
    const wrapped = widths.map((width, i) => wrap(row[i] ?? '', width));
    const height = Math.max(...wrapped.map((lines) => lines.length));
    for (let l = 0; l < height; l++) {
      const parts = wrapped.map((lines, i) => {
        const text = lines[l] ?? '';
        return right.includes(i) ? text.padStart(widths[i] ?? 0) : text.padEnd(widths[i] ?? 0);
      });
      lines.push((' '.repeat(indent) + parts.join('  ')).trimEnd());
    }
  }
  return lines;
}

/** The natural width of each column, the widest ones narrowed until all fit into `room`. */
function columnWidths(cells: readonly (readonly string[])[], columns: number, room: number): number[] {
  const widths = Array.from({ length: columns }, (_, i) =>
    Math.max(1, ...cells.map((row) => row[i]?.length ?? 0)),
  );
  let over = widths.reduce((a, b) => a + b, 0) - room;
  while (over > 0) {
    const widest = Math.max(...widths);
    if (widest <= 8) break;
    const second = Math.max(8, ...widths.filter((w) => w < widest));
    const share = widths.filter((w) => w === widest).length;
    const cut = Math.max(1, Math.min(widest - second, Math.ceil(over / share)));
    for (const [i, width] of widths.entries()) {
      if (width === widest && over > 0) {
        widths[i] = width - cut;
        over -= cut;
      }
    }
  }
  return widths;
}

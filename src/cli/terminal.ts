import { once } from 'node:events';
import { styleText } from 'node:util';

/** Widest line of human output, in characters. */
export const WIDTH = 100;

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

type Output = NodeJS.WritableStream & { isTTY?: boolean; writableNeedDrain?: boolean };

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

  /** Prose, wrapped at {@link WIDTH}, every line indented. */
  prose(text: string, indent = 0): void {
    for (const line of wrap(printable(text), WIDTH - indent)) this.line(' '.repeat(indent) + line);
  }

  /** What went wrong, wrapped at {@link WIDTH}, on `err`. */
  complain(message: string): void {
    this.err.write(`${wrap(`interlock: ${printable(message)}`, WIDTH).join('\n')}\n`);
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

/** `text` in lines of at most `width` characters: broken at spaces, and long words after a separator. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (let word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = '';
    }
    while (word.length > width) {
      const cut = breakOf(word, width);
      lines.push(word.slice(0, cut));
      word = word.slice(cut);
    }
    line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines;
}

/** Where a word that is too long is broken: after the last separator that leaves a good part of the line. */
function breakOf(word: string, width: number): number {
  for (let i = width; i > width / 3; i--) if ('/.-_:='.includes(word[i - 1] ?? '')) return i;
  return width;
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

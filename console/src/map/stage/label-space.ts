/** A rectangle of the picture, in pixels. */
export interface Rect {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

/** Side of a square of the picture, pixels: about the height of two labels. */
const CELL_PX = 40;

/** What of one picture is taken already: a name or a sign that would cover another one is left out of it. */
export class LabelSpace {
  readonly #cells = new Map<string, Rect[]>();

  /** Begins another picture. */
  clear(): void {
    this.#cells.clear();
  }

  /** Whether nothing is written there. */
  isFree(rect: Rect): boolean {
    return this.#keysOf(rect).every((key) => (this.#cells.get(key) ?? []).every((each) => !meet(each, rect)));
  }

  /** Keeps it from others. */
  take(rect: Rect): void {
    for (const key of this.#keysOf(rect)) {
      const known = this.#cells.get(key);
      if (known === undefined) this.#cells.set(key, [rect]);
      else known.push(rect);
    }
  }

  #keysOf({ x, y, w, h }: Rect): string[] {
    const keys: string[] = [];
    for (let column = Math.floor(x / CELL_PX); column <= Math.floor((x + w) / CELL_PX); column++)
      for (let row = Math.floor(y / CELL_PX); row <= Math.floor((y + h) / CELL_PX); row++)
        keys.push(`${column},${row}`);
    return keys;
  }
}

/** What is written on the picture. */
export interface Written {
  readonly names: LabelSpace;
  /** Names, nodes and signs. */
  readonly all: LabelSpace;
}

function meet(a: Rect, b: Rect): boolean {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}

import { readFileSync } from 'node:fs';
import type { Locator, Page } from 'playwright-core';
import { expect } from 'vitest';

/** Every table that is shown now filters, sorts and exports; gives their names. A table that does not is a fault. */
export async function tryTables(page: Page, where: string): Promise<readonly string[]> {
  const tables = page.locator('main table');
  expect(await page.locator('main table:not([data-table] table)').count(), `${where}: a bare table`).toBe(0);
  const names: string[] = [];
  for (let i = 0; i < (await tables.count()); i++) {
    const box = page.locator('main [data-table]').nth(i);
    const name = (await box.getAttribute('data-table')) ?? '';
    names.push(name);
    await tryTable(page, box, `${where}, ${name}`, i);
  }
  return names;
}

async function tryTable(page: Page, box: Locator, where: string, index: number): Promise<void> {
  const rows = box.locator('tbody tr:not([aria-hidden])');
  const before = await rows.allTextContents();
  expect(before.length, `${where}: no row to try it with`).toBeGreaterThan(0);
  await trySorting(page, index, where);
  expect(await rows.count(), where).toBe(before.length);
  const filter = box.getByPlaceholder('Filter', { exact: true });
  await filter.fill('nothing has these words');
  await expect.poll(() => rows.allTextContents(), { message: where, timeout: 120_000 }).toHaveLength(1);
  await box.getByText('Nothing here has all of these words.').waitFor();
  expect(linesOf(await exported(page, box)), `${where}: exports what is filtered`).toHaveLength(1);
  await filter.fill('');
  await expect.poll(() => rows.count(), { message: where, timeout: 120_000 }).toBe(before.length);
  const csv = await exported(page, box);
  expect(linesOf(csv), `${where}: a line for each row, after the heads`).toHaveLength(before.length + 1);
  const heads = await box.locator('th button').allTextContents();
  expect(linesOf(csv)[0], where).toBe(
    heads
      .map((head) => head.replace(/ [↑↓]$/, ''))
      .map((head) => (/[",]/.test(head) ? `"${head}"` : head))
      .join(','),
  );
}

interface Sorted {
  readonly head: string;
  readonly up: readonly string[];
  readonly down: readonly string[];
}

/** Clicks each head twice, in the page itself: the column's texts in both orders. */
const SORT = `async (box) => {
  const texts = (at) => [...box.querySelectorAll('tbody tr:not([aria-hidden])')].map((row) => row.cells[at].textContent);
  const sorted = async (head, way) => {
    for (let i = 0; i < 4; i++) {
      if (head.getAttribute('aria-sort') === way) return;
      head.querySelector('button').click();
      await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    }
    throw new Error(head.textContent + ' is not ' + way);
  };
  const result = [];
  for (const head of [...box.querySelectorAll('th')].filter((each) => each.querySelector('button') !== null)) {
    await sorted(head, 'ascending');
    const up = texts(head.cellIndex);
    await sorted(head, 'descending');
    result.push({ head: head.textContent, up, down: texts(head.cellIndex) });
  }
  return result;
}`;

/** What stands for no value. */
const NOTHING = new Set(['', '-', 'never']);

/** Times from now go on while they are read. */
const still = (text: string) => text.replaceAll(/\d+[smhd]( \d+[smhd])?/g, 'T');

/** Each head orders the rows one way, then the other: the same rows, beginning with what the other way ends with. */
async function trySorting(page: Page, index: number, where: string): Promise<void> {
  const sorted = await page.evaluate<Sorted[]>(
    `(${SORT})(document.querySelectorAll('main [data-table]')[${index}])`,
  );
  for (const { head, up, down } of sorted) {
    expect(down.map(still).toSorted(), `${where}, ${head}: the same rows`).toEqual(up.map(still).toSorted());
    // What has no value comes last either way; what is alike has one order.
    const [ups, downs] = [up, down].map((texts) => texts.map(still).filter((text) => !NOTHING.has(text)));
    const distinct = new Set(ups);
    if (distinct.size === ups?.length && distinct.size > 1)
      expect(downs, `${where}, ${head}: the other way round`).toEqual(ups.toReversed());
  }
}

async function exported(page: Page, box: Locator): Promise<string> {
  const [saved] = await Promise.all([
    page.waitForEvent('download'),
    box.getByRole('button', { name: / as CSV$/ }).click(),
  ]);
  return readFileSync(await saved.path(), 'utf8');
}

/** Records of RFC 4180: a break in quotes ends none. */
function linesOf(csv: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const part of csv.split('\r\n')) {
    line = line === '' ? part : `${line}\r\n${part}`;
    if ((line.split('"').length - 1) % 2 === 1) continue;
    if (line !== '') lines.push(line);
    line = '';
  }
  return lines;
}

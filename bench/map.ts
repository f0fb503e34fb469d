// The map in a browser over an estate of 1,000 workloads and 10,000 accesses: time until it can be used, script that the
// first view loads, and the time between frames while it is panned and zoomed, with namespaces closed and with all open.
// The peer is an empty page of the same browser doing nothing but asking for frames. Where there is no GPU, SwiftShader
// draws, and the figures say so.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Page } from 'playwright-core';
import { build } from 'vite';
import { SIZES } from '../test/console/map-estate.ts';
import { MapPlane } from '../test/console/map-plane.ts';

const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
if (!existsSync(CHROMIUM)) {
  console.log('no chromium: apt-get install chromium, or CHROMIUM=PATH');
  process.exit(0);
}
const isSoftware = !process.argv.includes('--gpu');
const GOAL_READY_MS = 1500;
const GOAL_FRAME_MS = 33;
const GOAL_SCRIPT_KB = 400;
const FRAMES_MS = 3000;
/** Usable in software: a picture follows the hand at ten frames a second. */
const USABLE_MS = 100;

/** Times between frames, milliseconds, while the page does what it does. */
function frames(page: Page, ms: number): Promise<number[]> {
  // As text: what runs in the page is not of this program's types.
  return page.evaluate<number[]>(`new Promise((resolve) => {
    const all = [];
    const start = performance.now();
    let last = start;
    const next = () => {
      const at = performance.now();
      all.push(at - last);
      last = at;
      if (at - start < ${ms}) requestAnimationFrame(next);
      else resolve(all.slice(1));
    };
    requestAnimationFrame(next);
  })`);
}

function say(what: string, all: readonly number[], goal?: number): void {
  const sorted = all.toSorted((a, b) => a - b);
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  const over =
    goal === undefined ? '' : `, ${all.filter((ms) => ms > goal).length} of ${all.length} over ${goal} ms`;
  console.log(
    `${what.padEnd(34)} p50 ${at(0.5).toFixed(1)} ms, p95 ${at(0.95).toFixed(1)} ms, longest ${at(1).toFixed(1)} ms${over}`,
  );
}

/** Drags and turns the wheel as a hand does, until `done`. */
async function move(page: Page, isDone: () => boolean): Promise<void> {
  const box = await page.locator('.map-canvas').boundingBox();
  if (box === null) throw new TypeError('the map is not there');
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  for (let i = 0; !isDone(); i++) {
    await page.mouse.move(x, y);
    await page.mouse.down();
    for (let k = 1; k <= 8 && !isDone(); k++)
      await page.mouse.move(x + (i % 2 === 0 ? 1 : -1) * k * 12, y + k * 4);
    await page.mouse.up();
    await page.mouse.wheel(0, i % 4 < 2 ? -120 : 120);
  }
}

async function whileMoved(page: Page): Promise<number[]> {
  let isDone = false;
  const moving = move(page, () => isDone);
  const all = await frames(page, FRAMES_MS);
  isDone = true;
  await moving;
  return all;
}

const dist = mkdtempSync(join(tmpdir(), 'interlock-map-dist-'));
await build({
  root: new URL('../console', import.meta.url).pathname,
  build: { outDir: dist, emptyOutDir: true },
  logLevel: 'error',
});
const plane = await MapPlane.open(SIZES[1000], dist);
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: [
    '--no-sandbox',
    ...(isSoftware
      ? ['--use-angle=swiftshader', '--enable-unsafe-swiftshader']
      : ['--enable-gpu', '--ignore-gpu-blocklist']),
  ],
});
const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
const page = await context.newPage();
await page.goto('data:text/html,<title>empty</title>');
say('an empty page', await frames(page, 1000));
await page.goto(await plane.link());
await page.waitForSelector('.map-canvas canvas');

let missed = 0;
const ready: number[] = [];
let script = 0;
for (let i = 0; i < 5; i++) {
  const client = await context.newCDPSession(page);
  await client.send('Network.clearBrowserCache');
  await page.goto('about:blank');
  await page.goto(plane.origin, { waitUntil: 'commit' });
  // Usable: the picture is drawn, and a frame has passed in which nothing else held the page up.
  await page.waitForSelector('.map-canvas canvas.sigma-nodes');
  ready.push(
    await page.evaluate<number>(
      'new Promise((resolve) => requestAnimationFrame(() => setTimeout(() => resolve(performance.now()), 0)))',
    ),
  );
  script = await page.evaluate<number>(
    `performance.getEntriesByType('resource').filter(({ name }) => name.includes('.js')).reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)`,
  );
}
say('first view usable', ready, GOAL_READY_MS);
console.log(
  `script of the first view           ${(script / 1024).toFixed(0)} KiB as it was sent (goal: under ${GOAL_SCRIPT_KB})`,
);
if ((ready.toSorted((a, b) => a - b)[2] ?? 0) > GOAL_READY_MS) missed++;

const goal = isSoftware ? USABLE_MS : GOAL_FRAME_MS;
const closed = await whileMoved(page);
say('namespaces closed, moved', closed, goal);
await page.getByRole('button', { name: 'Show all' }).click();
await page.getByRole('button', { name: 'Open all' }).click();
await page.waitForTimeout(3000);
const open = await whileMoved(page);
say('all open, 9,500 lines, moved', open, goal);
console.log(isSoftware ? 'drawn by SwiftShader, without a GPU' : 'drawn by the GPU');
if (Math.max(...closed) > goal || Math.max(...open) > goal) missed++;
await browser.close();
await plane.close();
rmSync(dist, { recursive: true, force: true });
process.exit(missed === 0 || isSoftware ? 0 : 1);

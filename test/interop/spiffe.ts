/**
 * Points the programs of others at the agent of this checkout: a client on go-spiffe (test/interop/go), SPIRE's own
 * `spire-agent api`, spiffe-helper and grpcurl. It starts two trust domains, each a control plane and an agent, as
 * processes on the loopback interface, and runs workloads as several users. Run it as root on Linux with Go and
 * openssl: `node test/interop/spiffe.ts [--write] [--without=spire-agent]`. With --write the table goes into docs/interop.md. The programs are
 * built from the Go module proxy once (INTEROP_CACHE); SPIRE's agent takes several minutes.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeSection } from './document.ts';
import { checkChanges } from './identity/change-checks.ts';
import { Checks, tableOf } from './identity/checks.ts';
import { Domain } from './identity/domain.ts';
import { checkJwt } from './identity/jwt-checks.ts';
import { checkDelegated, checkPeers } from './identity/peer-checks.ts';
import { idOf, OTHER, OWN, type Scene, setUp } from './identity/scene.ts';
import { checkGrpcurl, checkSpiffeHelper, checkSpireAgent } from './identity/tool-checks.ts';
import {
  type GoTool,
  GO_SPIFFE_VERSION,
  GRPCURL,
  installClient,
  installGoTool,
  putInto,
  SPIFFE_HELPER,
  SPIRE_AGENT,
} from './identity/tools.ts';
import { checkX509 } from './identity/x509-checks.ts';

if (process.platform !== 'linux' || process.getuid?.() !== 0) {
  console.log('This needs Linux and root: it runs workloads under several users.');
  process.exit(2);
}
const client = installClient();
if ('missing' in client) {
  console.log(`The client on go-spiffe: ${client.missing}`);
  process.exit(2);
}
const dir = mkdtempSync(join(tmpdir(), 'interlock-spiffe-'));
const own = new Domain(dir, OWN, [idOf('delegate')]);
const other = new Domain(dir, OTHER);
const checks = new Checks();
try {
  await run({
    checks,
    own,
    other,
    client: putInto(dir, client.bin),
    delegate: putInto(dir, client.bin, 'delegate'),
  });
} finally {
  await Promise.all([own.stop(), other.stop()]);
  rmSync(dir, { recursive: true, force: true });
}
const left = checks.rows.filter(({ outcome }) => outcome === 'left out').length;
console.log(`\n${checks.rows.length} checks, ${checks.failed} failed, ${left} left out`);
if (checks.failed > 0) process.exitCode = 1;
if (process.argv.includes('--write')) {
  const versions = [
    `go-spiffe ${GO_SPIFFE_VERSION}`,
    ...[SPIRE_AGENT, SPIFFE_HELPER, GRPCURL].map(({ name, version }) => `${name} ${version}`),
  ].join(', ');
  writeSection('spiffe', {
    command: 'node test/interop/spiffe.ts --write',
    versions,
    text: tableOf(checks.rows),
  });
}

async function run(scene: Scene): Promise<void> {
  await setUp(scene);
  checks.group('go-spiffe');
  await checkX509(scene);
  await checkJwt(scene);
  await checkPeers(scene);
  await checkDelegated(scene);
  await withTool(SPIRE_AGENT, (bin) => checkSpireAgent(scene, bin));
  await withTool(GRPCURL, (bin) => checkGrpcurl(scene, bin));
  await withTool(SPIFFE_HELPER, (bin) => checkSpiffeHelper(scene, bin));
  checks.group('go-spiffe, while things change');
  await checkChanges(scene);
}

async function withTool(tool: GoTool, run: (bin: string) => Promise<void>): Promise<void> {
  checks.group(tool.name);
  const isUnwanted = process.argv.includes(`--without=${tool.name}`);
  const installed = isUnwanted ? { missing: 'not wanted in this run' } : installGoTool(tool);
  if ('missing' in installed) checks.leaveOut('all', installed.missing);
  else await run(putInto(dir, installed.bin));
}

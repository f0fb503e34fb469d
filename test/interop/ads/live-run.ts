import { execFileSync, spawnSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { certificatesFromPem } from '../../../src/identity/index.ts';
import { type X509Svid, X509Source } from '../../../src/workload/index.ts';
import { TestAuthority } from '../certificates.ts';
import { startEnvoy } from '../envoy-process.ts';
import { type Checks, expectThat } from '../identity/checks.ts';
import { Domain } from '../identity/domain.ts';
import { putInto } from '../identity/tools.ts';
import { freePort } from '../ports.ts';
import { AccessLogs } from './access-logs.ts';
import { checkAuthentication, checkProtocols } from './authentication-checks.ts';
import { checkEnforcement, checkRefusals } from './enforcement-checks.ts';
import { credentialsOf, DOMAIN, freePorts, id, Scene, startPrograms } from './scene.ts';
import { Xds } from './xds.ts';

const MAIN = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));
/** The user that Envoy runs as; all callers are this process. */
const ENVOY_USER = 41_005;

export interface Run {
  readonly dir: string;
  readonly bin: string;
  readonly checks: Checks;
}

/** Envoy with a real control plane for identities, a real agent, and the xDS server of this project. */
export async function runLive({ dir, bin, checks }: Run): Promise<void> {
  const cleanup: (() => Promise<void> | void)[] = [];
  try {
    const domain = new Domain(dir, DOMAIN);
    cleanup.unshift(() => domain.stop());
    await domain.start();
    await domain.rules(
      ...['web', 'db', 'control'].map(
        (name) => [name, { spiffeId: `/${name}`, selectors: ['unix:uid:0'] }] as const,
      ),
      ['app', { spiffeId: '/app', selectors: [`unix:uid:${ENVOY_USER}`] }],
    );
    const source = await X509Source.open({ endpoint: `unix://${domain.socket}` });
    cleanup.unshift(() => source.close());
    const programs = await startPrograms();
    cleanup.unshift(() => programs.close());
    const [logs, xds, ports] = [new AccessLogs(), new Xds(id('app')), await freePorts()];
    cleanup.unshift(() => xds.close());
    const scene = new Scene({ xds, ports, programs, source });
    const roots = source.state.bundles.get(DOMAIN)?.x509Authorities ?? [];
    const port = await xds.listen('127.0.0.1:0', credentialsOf(scene.svid('control'), roots), logs);
    const forged = forgedSvid(dir);

    const place = domain.directory('envoy', () => {});
    chmodSync(place, 0o711);
    const program = putInto(dir, bin);
    checks.group('Resources and bootstrap');
    for (const protocol of ['whole', 'delta'] as const) {
      const admin = await freePort();
      const bootstrap = bootstrapOf(domain.socket, { port, admin, protocol });
      if (protocol === 'whole') await checkValid({ checks, program, place, bootstrap, scene });
      scene.xds.set([]);
      const envoy = await startEnvoy(program, place, `http://127.0.0.1:${admin}`, bootstrap, ENVOY_USER);
      cleanup.unshift(() => envoy.stop());
      const bench = { checks, scene, logs, forged };
      checks.group(protocol === 'whole' ? 'State of the world' : 'Delta');
      if (protocol === 'delta') {
        await checkAuthentication(bench);
        await checkProtocols(bench);
      }
      await checkEnforcement(bench);
      await checkRefusals(bench);
      await envoy.stop();
      cleanup.shift();
      await xds.status(({ state }) => state === 'left');
    }
  } finally {
    for (const end of cleanup) await end();
  }
}

/** As a user gets it. */
function bootstrapOf(
  socket: string,
  { port, admin, protocol }: { readonly port: number; readonly admin: number; readonly protocol: string },
): Readonly<Record<string, unknown>> {
  const who = ['--workload', id('app'), '--instance', 'app-0', '--server-id', id('control')];
  const where = ['--server', `127.0.0.1:${port}`, '--agent-socket', socket, '--admin-port', String(admin)];
  const args = [MAIN, 'envoy', 'bootstrap', ...who, ...where, '--protocol', protocol];
  // JSON is what the command prints.
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Record<string, unknown>;
}

/** Every stage as a static configuration, which Envoy checks to the last field. */
async function checkValid(options: {
  readonly checks: Checks;
  readonly program: string;
  readonly place: string;
  readonly bootstrap: Readonly<Record<string, unknown>>;
  readonly scene: Scene;
}): Promise<void> {
  const { checks, program, place, bootstrap, scene } = options;
  const validate = (config: object): string => {
    const file = join(place, 'validate.json');
    writeFileSync(file, JSON.stringify(config));
    const args = ['--mode', 'validate', '-c', file, '--use-dynamic-base-id', '--log-level', 'warn'];
    const { status, stderr, stdout } = spawnSync(program, args, { encoding: 'utf8' });
    expectThat(status === 0 && !/deprecated|warning/i.test(stderr), `${stderr}${stdout}`.slice(0, 600));
    return 'OK, without a warning';
  };
  await checks.check('envoy --mode validate: the bootstrap', () => validate(bootstrap));
  for (const authentication of ['plaintext', 'permissive', 'strict'] as const) {
    await checks.check(`envoy --mode validate: all resources, ${authentication}`, () => {
      const resources = scene.rendered({ authentication });
      const of = (type: string) =>
        resources.filter((resource) => resource.type === type).map(({ json }) => json);
      const routes = new Map(of('route').map((route) => [route['name'], route]));
      const listeners = JSON.parse(JSON.stringify(of('listener')), (_key, value: unknown) =>
        inlined(value, routes),
      );
      const { clusters } = bootstrap['static_resources'] as { clusters: object[] };
      const all = { listeners, clusters: [...clusters, ...of('cluster')] };
      return validate({ ...bootstrap, static_resources: all });
    });
  }
}

/** A connection manager with its routes in place of where they come from, so that they are validated too. */
function inlined(value: unknown, routes: ReadonlyMap<unknown, object>): unknown {
  if (typeof value !== 'object' || value === null || !('rds' in value)) return value;
  const { rds, ...rest } = value as { rds: { route_config_name: string } };
  return { ...rest, route_config: routes.get(rds.route_config_name) };
}

/** An SVID of web by an authority of its own. */
function forgedSvid(dir: string): X509Svid {
  const { cert, key } = new TestAuthority(dir).leaf(id('web'));
  return {
    spiffeId: id('web'),
    chain: certificatesFromPem(cert),
    key: createPrivateKey(key),
    expiresAt: Date.now() + 3_600_000,
    hint: '',
  };
}

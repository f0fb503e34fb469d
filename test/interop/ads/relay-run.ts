import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { contextOptions, type X509Svid, X509Source } from '../../../src/workload/index.ts';
import { type Running, startEnvoy } from '../envoy-process.ts';
import { type Checks, expectSame, expectThat } from '../identity/checks.ts';
import { Child, runToEnd, until } from '../identity/children.ts';
import { Domain } from '../identity/domain.ts';
import { putInto } from '../identity/tools.ts';
import { freePort } from '../ports.ts';
import { once } from './connection.ts';
import { DOMAIN, id, startPrograms } from './scene.ts';

const MAIN = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));
/** The user that Envoy and its relay run as; all callers are this process. */
const ENVOY_USER = 41_006;

/** Requests of each kind, with the control plane and without. */
const BURST = 20;

export interface Run {
  readonly dir: string;
  readonly bin: string;
  readonly checks: Checks;
  /** How Envoy asks. */
  readonly protocol: 'delta' | 'whole';
}

interface PointShown {
  readonly key: string;
  readonly kind: string;
  readonly version: string;
  readonly connected: boolean;
  readonly wanted: number;
  readonly applied: number;
  readonly fault?: { readonly code: string; readonly message: string };
}

interface AccessShown {
  readonly action: { readonly path?: string };
  readonly evidence: { readonly outcomes: { readonly ok: number; readonly denied: number } };
}

interface RelayShown {
  readonly verdict: { readonly kind: string };
  readonly spooled: number;
  readonly online: boolean;
}

/** All processes of a run, each of which is killed and started again. */
class Stage {
  readonly domain: Domain;
  readonly state: string;
  readonly port: number;
  readonly #place: string;
  readonly #program: string;
  readonly #bootstrap: object;
  readonly #web: X509Svid;
  #relay: Child | undefined;
  #envoy: Running | undefined;

  constructor(parts: {
    readonly domain: Domain;
    readonly place: string;
    readonly program: string;
    readonly bootstrap: object;
    readonly web: X509Svid;
    readonly port: number;
  }) {
    this.domain = parts.domain;
    this.#place = parts.place;
    this.state = join(parts.place, 'state');
    this.#program = parts.program;
    this.#bootstrap = parts.bootstrap;
    this.#web = parts.web;
    this.port = parts.port;
  }

  get relay(): Child {
    if (this.#relay === undefined) throw new Error('the relay was not started');
    return this.#relay;
  }

  async startRelay(): Promise<void> {
    const { domain, state } = this;
    const args = ['--workload', id('app'), '--document', join(this.#place, 'app.yaml'), '--state', state];
    const to = ['--server', domain.address, '--workload-api', domain.socket, '--instance', 'app-0'];
    this.#relay = new Child({
      command: process.execPath,
      args: [MAIN, 'envoy', 'relay', ...args, ...to],
      uid: ENVOY_USER,
      cwd: '/',
    });
    await this.#relay.line(
      (line) => (line.includes('"msg":"the relay serves"') ? true : undefined),
      0,
      'the relay',
    );
  }

  async startEnvoy(): Promise<void> {
    const admin = (this.#bootstrap as { admin: { address: { socket_address: { port_value: number } } } })
      .admin;
    const url = `http://127.0.0.1:${admin.address.socket_address.port_value}`;
    this.#envoy = await startEnvoy(this.#program, this.#place, url, this.#bootstrap, ENVOY_USER);
    // It is live before its listeners have come.
    await until(async () => ((await this.statusOf('/items')) === 0 ? undefined : true));
  }

  async killRelay(): Promise<void> {
    await this.#relay?.stop('SIGKILL');
  }

  async killEnvoy(): Promise<void> {
    await this.#envoy?.kill();
  }

  /** One request of web over mutual TLS, on a connection of its own; 0 where there was no answer. */
  async statusOf(path: string, port = this.port): Promise<number> {
    return (await once(port, this.#web, path)).status;
  }

  /** How the two requests go: the one that the policy allows, and the one that it does not. */
  async answers(): Promise<string> {
    return `${await this.statusOf('/items')} ${await this.statusOf('/secret')}`;
  }

  /** What the relay says of itself, on its own socket. */
  shown(): Promise<RelayShown> {
    return new Promise((resolve, reject) => {
      const call = request(
        { socketPath: join(this.state, 'proxy.sock'), path: '/v1/state' },
        async (response) => {
          const chunks: Buffer[] = [];
          for await (const chunk of response) chunks.push(chunk as Buffer);
          // The relay writes this shape.
          resolve(JSON.parse(Buffer.concat(chunks).toString()) as RelayShown);
        },
      );
      call.on('error', reject);
      call.end();
    });
  }

  async points(): Promise<readonly PointShown[]> {
    // The command's own output, as its help describes it.
    return (JSON.parse(await this.domain.interlock('proxies', '--json')) as { points: PointShown[] }).points;
  }

  /** The relay's point, once it is as it is to be. */
  point(isSo: (point: PointShown) => boolean): Promise<PointShown> {
    return until(async () =>
      (await this.points()).find((point) => point.key === `${id('app')}#app-0` && isSo(point)),
    );
  }

  /** Calls of web that are evidence, by path: those that were answered, and those that were denied. */
  async evidence(): Promise<Map<string, readonly [ok: number, denied: number]>> {
    const text = await this.domain.interlock('access', '--to', id('app'), '--json');
    const lines = text.split('\n').filter((line) => line !== '');
    return new Map(
      lines.map((line) => {
        // The command's own output, as its help describes it.
        const { action, evidence } = JSON.parse(line) as AccessShown;
        return [action.path ?? '', [evidence.outcomes.ok, evidence.outcomes.denied]];
      }),
    );
  }

  /** A command on this machine that needs the relay alone, as root. Gives its exit code and what it said. */
  async local(...args: readonly string[]): Promise<string> {
    const { code, out, err } = await runToEnd({
      command: process.execPath,
      args: [MAIN, ...args, '--local', '--state', this.state],
    });
    return `${code} ${out.trim() === '' ? err.trim() : out.trim()}`;
  }

  async stop(): Promise<void> {
    await this.#envoy?.stop();
    await this.#relay?.stop();
  }
}

/** Envoy, its relay, an agent and a control plane, each killed in its turn. */
export async function runRelay({ dir, bin, checks, protocol }: Run): Promise<void> {
  const cleanup: (() => Promise<void> | void)[] = [];
  try {
    const domain = new Domain(dir, DOMAIN);
    cleanup.unshift(() => domain.stop());
    await domain.start();
    await domain.rules(
      ['web', { spiffeId: '/web', selectors: ['unix:uid:0'] }],
      ['app', { spiffeId: '/app', selectors: [`unix:uid:${ENVOY_USER}`] }],
    );
    const source = await X509Source.open({ endpoint: `unix://${domain.socket}` });
    cleanup.unshift(() => source.close());
    const programs = await startPrograms();
    cleanup.unshift(() => programs.close());
    const [port, http2, taken] = [await freePort(), await freePort(), await freePort()];
    const place = domain.directory('relay', (path) => {
      chownSync(path, ENVOY_USER, ENVOY_USER);
      chmodSync(path, 0o711);
    });
    const own = domain.directory('relay/state', (path) => {
      chownSync(path, ENVOY_USER, ENVOY_USER);
      chmodSync(path, 0o700);
    });
    const write = (...more: readonly object[]) =>
      writeFileSync(join(place, 'app.yaml'), documentOf({ port, http2, programs, more }));
    write();
    const socket = join(own, 'envoy.sock');
    const bootstrap = bootstrapOf(socket, domain.socket, { admin: await freePort(), protocol });
    const program = putInto(dir, bin);
    const stage = new Stage({ domain, place, program, bootstrap, web: source.svid, port });
    cleanup.unshift(() => stage.stop());

    checks.group(protocol === 'delta' ? 'Relay, delta' : 'Relay, state of the world');
    await checks.check('envoy --mode validate: the bootstrap', () => validate(program, place, bootstrap));
    await stage.startRelay();
    await stage.startEnvoy();
    await checkLoop(checks, stage);
    await checks.check('a program that says it speaks HTTP/2 gets it', async () => {
      const body = await overHttp2(http2, source.svid);
      expectSame('the answer of a program that speaks nothing else', body, '/over-h2');
      return 'HTTP/2 goes on over HTTP/2';
    });
    await checkAway(checks, stage);
    await checkBack(checks, stage);
    await checkRefused(checks, stage, async () => {
      const other = createServer();
      await new Promise<void>((resolve) => other.listen(taken, '127.0.0.1', resolve));
      cleanup.unshift(() => new Promise<void>((resolve) => other.close(() => resolve())));
      write({ listen: `127.0.0.1:${taken}`, forward: '127.0.0.1:9', protocol: 'tcp' });
    });
  } finally {
    for (const end of cleanup) await end();
  }
}

async function checkLoop(checks: Checks, stage: Stage): Promise<void> {
  const { domain } = stage;
  await checks.check('the control plane sees one proxy, confirmed by Envoy', async () => {
    const { kind, version } = await stage.point(({ applied, wanted }) => applied === wanted && applied > 0);
    expectThat(version.includes('envoy relay'), `it says that it is "${version}"`);
    return `kind ${kind}, ${version}`;
  });
  const policy = {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'app' },
    spec: {
      protects: { workload: id('app') },
      tier: 'experimental',
      rules: [
        {
          name: 'web',
          from: [{ workload: id('web') }],
          to: [{ http: { paths: ['/items', '/over-h2', '/burst'] } }],
        },
      ],
    },
  };
  const file = join(stage.state, '../policy.yaml');
  writeFileSync(file, JSON.stringify(policy));
  await checks.check('in shadow nothing is denied', async () => {
    await domain.interlock('policy', 'apply', file);
    await domain.interlock('promote', id('app'), '--to', 'shadow', '--wait', '20s');
    const answers = await stage.answers();
    expectSame('/items and /secret', answers, '200 200');
    return answers;
  });
  await checks.check('a promotion waits for Envoy, and is enforced', async () => {
    await domain.interlock(
      'promote',
      id('app'),
      '--to',
      'canary',
      '--share',
      '100%',
      '--anyway',
      'a test',
      '--wait',
      '20s',
    );
    await domain.interlock('promote', id('app'), '--to', 'enforced', '--anyway', 'a test', '--wait', '20s');
    const answers = await stage.answers();
    expectSame('/items and /secret', answers, '200 403');
    return answers;
  });
}

async function checkAway(checks: Checks, stage: Stage): Promise<void> {
  const enforces = async (seen: string) => {
    const answers = await stage.answers();
    expectSame('/items and /secret', answers, '200 403');
    return `${answers}; ${seen}`;
  };
  checks.group('Control plane killed');
  await stage.domain.killServer();
  await checks.check('enforcement goes on', () => enforces('one connection for each request'));
  await checks.check('Envoy killed and started from nothing: it enforces', async () => {
    await stage.killEnvoy();
    await stage.startEnvoy();
    return enforces('configuration from the relay');
  });
  await checks.check('relay killed and started: Envoy serves throughout, and enforces', async () => {
    // Until what was logged is on disk.
    await until(async () => ((await stage.shown()).spooled > 0 ? true : undefined));
    await stage.killRelay();
    const without = await stage.answers();
    expectSame('/items and /secret without a relay', without, '200 403');
    await stage.startRelay();
    return enforces('its state from disk');
  });
  await checks.check('both killed and started: it enforces', async () => {
    await stage.killEnvoy();
    await stage.killRelay();
    await stage.startRelay();
    await stage.startEnvoy();
    return enforces('its state from disk');
  });
  await checks.check(
    'release --local: the denied request passes once the command has come back',
    async () => {
      const said = await stage.local('release', '--reason', 'all else is down');
      expectSame('/items and /secret', await stage.answers(), '200 200');
      expectThat(said.startsWith('0 Released on this machine in'), `it said: ${said}`);
      return said.slice(2);
    },
  );
  await checks.check('the release outlives relay and Envoy', async () => {
    await stage.killEnvoy();
    await stage.killRelay();
    await stage.startRelay();
    await stage.startEnvoy();
    const answers = await stage.answers();
    expectSame('/items and /secret', answers, '200 200');
    return answers;
  });
  await checks.check('arm --local: it enforces again', async () => {
    const said = await stage.local('arm');
    return enforces(said.slice(2));
  });
  await checks.check('release --local with no Envoy: says so, and Envoy has it when it comes', async () => {
    await stage.killEnvoy();
    const said = await stage.local('release', '--reason', 'drill');
    expectThat(said.startsWith('4 ') && said.includes('no Envoy is connected'), `it said: ${said}`);
    await stage.startEnvoy();
    expectSame('/items and /secret', await stage.answers(), '200 200');
    expectThat((await stage.local('arm')).startsWith('0 '), 'arm --local failed');
    return said.slice(2);
  });
}

async function checkBack(checks: Checks, stage: Stage): Promise<void> {
  checks.group('Control plane back');
  await checks.check('the relay confirms the state anew', async () => {
    await stage.domain.serveAgain();
    const { applied } = await stage.point((point) => point.connected && point.applied === point.wanted);
    return `state ${applied}`;
  });
  await checks.check('what was logged while it was away arrives, once', async () => {
    await burst(stage);
    await stage.domain.killServer();
    await burst(stage);
    await until(async () => ((await stage.shown()).spooled > 0 ? true : undefined));
    await stage.domain.serveAgain();
    const seen = async () => {
      const now = await stage.evidence();
      return [now.get('/burst')?.[0] ?? 0, now.get('/burst-denied')?.[1] ?? 0];
    };
    const wanted = [2 * BURST, 2 * BURST];
    await until(async () => {
      const { spooled, online } = await stage.shown();
      return online && spooled === 0 && (await seen()).every((count) => count >= 2 * BURST)
        ? true
        : undefined;
    });
    await stage.domain.killServer();
    await stage.domain.serveAgain();
    await stage.point((point) => point.connected && point.applied === point.wanted);
    expectSame('calls that were allowed and denied, in the evidence', await seen(), wanted);
    return `${wanted.join(' and ')} calls, over two crashes of the control plane`;
  });
}

/** Requests that are allowed, and as many that are denied: each of them is answered. */
async function burst(stage: Stage): Promise<void> {
  for (let i = 0; i < BURST; i++) {
    const answers = [await stage.statusOf('/burst'), await stage.statusOf('/burst-denied')];
    expectSame('/burst and /burst-denied', answers, [200, 403]);
  }
}

async function checkRefused(checks: Checks, stage: Stage, takePort: () => Promise<void>): Promise<void> {
  checks.group('Refusal');
  await checks.check(
    'a listener on a port that is taken: in the words of Envoy at the control plane',
    async () => {
      await takePort();
      await stage.killRelay();
      await stage.startRelay();
      const { fault } = await stage.point((point) => point.fault?.code === 'invalid_document');
      expectSame('/items and /secret', await stage.answers(), '200 403');
      return fault?.message.slice(0, 160) ?? '';
    },
  );
  await checks.check('a release of the control plane takes enforcement away all the same', async () => {
    // It says with its exit code that not everything of it was confirmed.
    await stage.domain
      .interlock('release', '--all', '--reason', 'drill', '--wait', '1s')
      .catch(() => 'not confirmed');
    const { fault } = await stage.point((point) => point.fault !== undefined && point.applied < point.wanted);
    expectSame('/items and /secret', await stage.answers(), '200 200');
    return `200 200, and ${fault?.code ?? 'nothing'} at the control plane`;
  });
}

/** As a user gets it. */
function bootstrapOf(
  relay: string,
  agentSocket: string,
  { admin, protocol }: { readonly admin: number; readonly protocol: string },
): object {
  const who = ['--workload', id('app'), '--instance', 'app-0', '--relay', relay];
  const where = ['--agent-socket', agentSocket, '--admin-port', String(admin), '--protocol', protocol];
  // JSON is what the command prints.
  return JSON.parse(
    execFileSync(process.execPath, [MAIN, 'envoy', 'bootstrap', ...who, ...where], { encoding: 'utf8' }),
  ) as object;
}

function validate(program: string, place: string, bootstrap: object): string {
  const file = join(place, 'validate.json');
  writeFileSync(file, JSON.stringify(bootstrap));
  const args = ['--mode', 'validate', '-c', file, '--use-dynamic-base-id', '--log-level', 'warn'];
  const { status, stderr, stdout } = spawnSync(program, args, { encoding: 'utf8' });
  expectThat(status === 0 && !/deprecated|warning/i.test(stderr), `${stderr}${stdout}`.slice(0, 600));
  return 'OK, without a warning';
}

function documentOf(parts: {
  readonly port: number;
  readonly http2: number;
  readonly programs: { readonly http: number; readonly grpc: number };
  readonly more: readonly object[];
}): string {
  const { port, http2, programs, more } = parts;
  const inbound = [
    { listen: `127.0.0.1:${port}`, forward: `127.0.0.1:${programs.http}`, protocol: 'http' },
    {
      listen: `127.0.0.1:${http2}`,
      forward: `127.0.0.1:${programs.grpc}`,
      protocol: 'http',
      programSpeaks: 'h2',
    },
    ...more,
  ];
  return JSON.stringify({
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'Proxy',
    metadata: { name: 'app' },
    spec: { workload: id('app'), authentication: 'strict', inbound },
  });
}

/** One GET over HTTP/2 that is no gRPC. */
function overHttp2(port: number, as: X509Svid): Promise<string> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2(`https://127.0.0.1:${port}`, {
      ...contextOptions(as),
      rejectUnauthorized: false,
    });
    session.on('error', reject);
    const stream = session.request({ ':path': '/over-h2' });
    let body = '';
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => (body += text));
    stream.on('error', reject);
    stream.on('end', () => {
      session.close();
      resolve(body);
    });
    stream.end();
  });
}

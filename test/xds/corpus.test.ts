import { type ChildProcess, fork } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ChannelCredentials, Client, credentials, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { grpcPath, parseSpiffeId, pathOf, type SpiffeId, trustDomainOf } from '../../src/access/index.ts';
import { certificateToPem } from '../../src/identity/index.ts';
import { type AccessRequest, compile, decide, policiesAt } from '../../src/policy/index.ts';
import { type Served, served } from '../../src/xds/testing.test-helper.ts';
import { TestAuthority } from '../../src/workload/testing.ts';
import { type Decision, loadDecisions } from '../corpus/load.ts';
import { Opened } from '../identity/harness.ts';
import type { FromProgram, ToProgram } from './corpus-program.ts';
import {
  AUTHORITIES,
  clientResources,
  hasCondition,
  rbacFilter,
  rbacFilters,
  serverResources,
  type Site,
} from './grpc-resources.ts';

const opened = new Opened();

/** A case of the corpus as a gRPC call, or why it is none. */
type AsCall =
  | { readonly request: AccessRequest; readonly from: SpiffeId; readonly path: string }
  | { readonly leftOut: string };

/**
 * `tcp` cases are asked as a call inside such a connection, and POST as the same call: what `decide` says of that
 * request is the verdict.
 */
function asCall({ request }: Decision): AsCall {
  const { action, from, attributes } = request;
  if (from.kind !== 'workload')
    return { leftOut: 'a caller without identity: the server takes mutual TLS alone' };
  if (pathOf(from.id) === '') return { leftOut: 'the ID of a trust domain: no workload gets an SVID of it' };
  if (action.port === 0) return { leftOut: 'no port is known' };
  if (attributes !== undefined) return { leftOut: 'a condition on the request: gRPC evaluates none' };
  switch (action.kind) {
    case 'grpc':
      return { request, from: from.id, path: grpcPath(action.service, action.method) };
    case 'tcp': {
      const call = { kind: 'grpc', port: action.port, service: 'a.B', method: 'C' } as const;
      return { request: { ...request, action: call }, from: from.id, path: '/a.B/C' };
    }
    default:
      return action.method === 'POST'
        ? { request, from: from.id, path: action.path }
        : { leftOut: 'HTTP that is not POST: never gRPC' };
  }
}

interface Asked {
  readonly decision: Decision;
  readonly call: Exclude<AsCall, { leftOut: string }>;
  readonly site: Site;
  /** Name of the client in the resources. */
  readonly as: string;
}

const leftOut = new Map<string, string[]>();
const sites = new Map<string, Site>();
const clients = new Map<string, { site: Site; from: SpiffeId }>();
const asked: Asked[] = [];
for (const decision of loadDecisions()) {
  const call = asCall(decision);
  const title = `${decision.file}: ${decision.name}`;
  const leave = (why: string) => leftOut.set(why, [...(leftOut.get(why) ?? []), title]);
  if ('leftOut' in call) {
    leave(call.leftOut);
    continue;
  }
  const { to, action } = call.request;
  // gRPC passes over conditions, those of ends as well: what is over is gone once it is rendered anew.
  const policies = policiesAt(decision.policies, decision.at);
  const key = `${decision.file} ${to} ${action.port} ${policies === decision.policies ? '' : decision.at}`;
  const site = sites.get(key) ?? {
    name: `s${sites.size}`,
    workload: to,
    policies,
    port: action.port,
  };
  if (hasCondition(rbacFilters(site, 65_000))) {
    leave('a rule of the port has a condition: gRPC passes over it');
    continue;
  }
  sites.set(key, site);
  const as = `${site.name}-${call.from.replaceAll(/[^a-z0-9]+/g, '-')}`;
  clients.set(as, { site, from: call.from });
  asked.push({ decision, call, site, as });
}

/** Files of SVIDs, as a helper of the Workload API writes them, and the bootstrap that names them. */
function bootstrapOf({ port }: Served, identities: readonly SpiffeId[]): string {
  const dir = opened.dir();
  const authorities = new Map(
    [...new Set(identities.map(trustDomainOf))].map((domain) => [domain, new TestAuthority(domain)]),
  );
  const provider = (config: object) => ({
    plugin_name: 'file_watcher',
    config: { ...config, refresh_interval: '600s' },
  });
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text, { mode: 0o600 });
    return join(dir, name);
  };
  const own = identities.map((id, index) => {
    const svid = authorities.get(trustDomainOf(id))?.svid(pathOf(id));
    if (svid === undefined) throw new TypeError(`${id} is of no trust domain`);
    const chain = svid.chain.map(({ der }) => certificateToPem(der)).join('');
    return [
      id,
      provider({
        certificate_file: file(`${index}.pem`, chain),
        private_key_file: file(`${index}.key`, svid.key.export({ type: 'pkcs8', format: 'pem' })),
      }),
    ];
  });
  const roots = [...authorities.values()]
    .map(({ certificate }) => certificateToPem(certificate.der))
    .join('');
  return JSON.stringify({
    xds_servers: [{ server_uri: `127.0.0.1:${port}`, channel_creds: [{ type: 'insecure' }] }],
    node: { id: 'grpc', locality: {} },
    server_listener_resource_name_template: 'server/%s',
    certificate_providers: {
      ...Object.fromEntries(own),
      [AUTHORITIES]: provider({ ca_certificate_file: file('roots.pem', roots) }),
    },
  });
}

/** The process with the servers and the clients. */
class Program {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<string, (message: FromProgram) => void>();
  #calls = 0;

  constructor(bootstrap: string) {
    this.#child = fork(new URL('./corpus-program.ts', import.meta.url), {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: {
        ...process.env,
        GRPC_XDS_BOOTSTRAP_CONFIG: bootstrap,
        GRPC_XDS_EXPERIMENTAL_RBAC: 'true',
      },
    });
    this.#child.on('message', (message: FromProgram) => {
      const key = message.is === 'answer' ? `answer ${message.id}` : message.is;
      this.#waiting.get(key)?.(message);
    });
    opened.later(() => this.#child.kill('SIGKILL'));
  }

  #said<Is extends FromProgram['is']>(is: Is, key: string = is): Promise<Extract<FromProgram, { is: Is }>> {
    return new Promise((resolve, reject) => {
      const gone = () => reject(new Error(`the program has ended before "${key}"`));
      this.#child.once('exit', gone);
      this.#waiting.set(key, (message) => {
        this.#child.off('exit', gone);
        // Only messages of this kind have this key.
        resolve(message as Extract<FromProgram, { is: Is }>);
      });
    });
  }

  #tell(message: ToProgram): void {
    this.#child.send(message);
  }

  /** Its ports; `serving` once the server has taken the resources of all of them. */
  async serve(ports: number, paths: readonly string[]) {
    const serving = this.#said('serving');
    const known = this.#said('ports');
    this.#tell({ is: 'serve', ports, paths });
    return { ports: (await known).ports, serving };
  }

  call(as: string, path: string) {
    const id = ++this.#calls;
    const answer = this.#said('answer', `answer ${id}`);
    this.#tell({ is: 'call', id, as, path });
    return answer;
  }
}

async function start(paths: readonly string[], ids: readonly SpiffeId[], ports: number) {
  const plane = await served();
  opened.later(() => plane.close());
  const program = new Program(bootstrapOf(plane, [...new Set(ids)]));
  const { ports: own, serving } = await program.serve(ports, [...new Set(paths)]);
  return { plane, program, ports: own, serving };
}

/** The code of one call of a client that is told of nothing over xDS. */
function callOnce(port: number, tls: ChannelCredentials): Promise<number> {
  const client = new Client(`127.0.0.1:${port}`, tls);
  opened.later(() => client.close());
  const bytes = (value: Buffer) => value;
  return new Promise((resolve) =>
    client.makeUnaryRequest('/a.B/C', bytes, bytes, Buffer.from('x'), (error) => resolve(error?.code ?? 0)),
  );
}

/** The first refusal of a resource, or that the server has taken all of them. */
function outcome(plane: Served, serving: Promise<unknown>): Promise<string> {
  const refused = new Promise<string>((resolve) =>
    plane.server.onStatus(({ perType }) => {
      for (const { refused } of perType.values()) if (refused !== undefined) resolve(refused.message);
    }),
  );
  return Promise.race([serving.then(() => 'serving'), refused]);
}

describe('the corpus of decisions, by a gRPC server and gRPC clients without proxies', () => {
  let program: Program;
  let ports: readonly number[] = [];
  beforeAll(async () => {
    const all = [...sites.values()];
    const started = await start(
      asked.map(({ call }) => call.path),
      [...all.map(({ workload }) => workload), ...[...clients.values()].map(({ from }) => from)],
      all.length,
    );
    ({ program, ports } = started);
    const portOf = (index: number) => ports[index] ?? 0;
    started.plane.source.set([
      ...all.flatMap((site, index) => serverResources(site, portOf(index), rbacFilters(site, portOf(index)))),
      ...[...clients].flatMap(([name, { site, from }]) => clientResources(name, site, from)),
    ]);
    expect(await outcome(started.plane, started.serving)).toBe('serving');
  });
  afterAll(() => opened.close());

  test.each(asked.map((one) => [`${one.decision.file}: ${one.decision.name}`, one] as const))(
    'gives the verdict of decide: %s',
    async (_, { decision, call, as }) => {
      const { allowed } = decide(compile(decision.policies), call.request, decision.at);
      const { code, text } = await program.call(as, call.path);
      expect({ code, text }).toEqual(
        allowed
          ? { code: 0, text: call.path }
          : { code: status.PERMISSION_DENIED, text: 'Unauthorized RPC rejected' },
      );
    },
  );

  test('does not answer a caller without a certificate, or with one of another authority', async () => {
    const [port = 0] = ports;
    const stranger = new TestAuthority('example.org').svid('/ns/shop/sa/web');
    const chain = Buffer.from(stranger.chain.map(({ der }) => certificateToPem(der)).join(''));
    const key = Buffer.from(stranger.key.export({ type: 'pkcs8', format: 'pem' }));
    for (const [own, pem] of [
      [null, null],
      [key, chain],
    ] as const) {
      const tls = credentials.createSsl(null, own, pem, { rejectUnauthorized: false });
      expect(await callOnce(port, tls)).toBe(status.UNAVAILABLE);
    }
  });

  test('leaves out what gRPC cannot be asked, and says what', () => {
    const lines = [...leftOut].map(([why, titles]) => `${String(titles.length).padStart(4)}  ${why}`);
    console.log(`${asked.length} cases asked of gRPC; left out:\n${lines.join('\n')}`);
    const grpc = loadDecisions().filter(({ request }) => request.action.kind === 'grpc');
    expect(asked.filter(({ decision }) => grpc.some(({ name }) => name === decision.name)).length).toBe(
      grpc.length,
    );
  });
});

describe('what gRPC makes of what our engine ships beside rules', () => {
  const WORKLOAD = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
  const CALLER = parseSpiffeId('spiffe://example.org/ns/shop/sa/web');
  const SITE: Site = { name: 's0', workload: WORKLOAD, policies: [], port: 80 };
  const everybody = { permissions: [{ any: true }], principals: [{ any: true }] };
  const rules = (action: string, policy: object = everybody) => ({ action, policies: { all: policy } });
  afterAll(() => opened.close());

  async function withFilter(config: Readonly<Record<string, unknown>>) {
    const { plane, program, ports, serving } = await start(['/a.B/C'], [WORKLOAD, CALLER], 1);
    plane.source.set([
      ...serverResources(SITE, ports[0] ?? 0, [rbacFilter('rules', config)]),
      ...clientResources('web', SITE, CALLER),
    ]);
    return { program, said: await outcome(plane, serving) };
  }

  test.each([
    ['shadow rules alone', { shadow_rules: rules('ALLOW') }],
    ['a filter whose rules are to come with the routes', {}],
    ['rules that only log', { rules: rules('LOG') }],
  ])('%s are refused: the control plane sees why, and nothing is served', async (_, config) => {
    expect((await withFilter(config)).said).toMatch(/rules filter validation failed/);
  });

  test('a condition is passed over, so that the rule allows more: policies with conditions are not for gRPC', async () => {
    const never = { ...everybody, condition: { const_expr: { bool_value: false } } };
    const { program, said } = await withFilter({ rules: rules('ALLOW', never) });
    expect(said).toBe('serving');
    expect(await program.call('web', '/a.B/C')).toMatchObject({ code: 0 });
  });
});

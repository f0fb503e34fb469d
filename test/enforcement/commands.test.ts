import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { Client, credentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseSpiffeId, type SpiffeId } from '../../src/access/index.ts';
import { main } from '../../src/cli/cli.ts';
import { EXIT } from '../../src/cli/exit.ts';
import { Terminal } from '../../src/cli/terminal.ts';
import {
  type AgentAttributes,
  certificateToPem,
  createRequest,
  generateKey,
  writeWorkloadAttributes,
} from '../../src/identity/index.ts';
import { TestProxy } from '../../src/server/enforcement/enforcement.test-helper.ts';
import { accessAt, flipAt, reportOf } from '../../src/server/enforcement/evidence/evidence.test-helper.ts';
import { Opened, Plane } from '../identity/harness.ts';

const CART = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const WEB = parseSpiffeId('spiffe://example.org/ns/shop/sa/web');
const RULE = `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: by-account }
spec:
  spiffeId: /ns/{k8s.namespace}/sa/{k8s.service_account}
  selectors: ["k8s:ns:shop"]
`;
const POLICY = (name: string, path = '/a', tier = 'experimental') => `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${name} }
spec:
  tier: ${tier}
  protects: { workload: ${CART} }
  rules: [{ name: web, from: [{ workload: ${WEB} }], to: [{ http: { methods: [GET], paths: ["${path}"] } }] }]
`;

const opened = new Opened();
let plane: Plane;
let dir: string;
beforeEach(async () => {
  plane = await Plane.start(opened, { rules: RULE });
  dir = opened.dir();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await opened.close();
});

interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command on a terminal of 80 columns, or into a pipe for `--json`. */
async function run(...args: string[]): Promise<Said> {
  const texts = { out: '', err: '' };
  const sink = (name: keyof typeof texts) =>
    Object.assign(
      new Writable({
        write(chunk, _encoding, done) {
          texts[name] += String(chunk);
          done();
        },
      }),
      args.includes('--json') ? {} : { isTTY: true, columns: 80 },
    );
  const terminal = new Terminal(sink('out'), sink('err'), { NO_COLOR: '1' });
  const code = await main([...args, '--state', plane.state], { terminal, now: Date.now });
  // What the parser of the command line says is wrapped at its own width.
  const wide = `${texts.out}${code === EXIT.misused.code ? '' : texts.err}`
    .split('\n')
    .filter((line) => line.length > 80);
  if (!args.includes('--json')) expect(wide, args.join(' ')).toEqual([]);
  return { code, ...texts };
}

/** What a command prints with `--json`, and its exit code. */
async function json(...args: string[]): Promise<{ code: number; value: Record<string, unknown> }> {
  const { code, out, err } = await run(...args, '--json');
  return { code, value: JSON.parse(out === '' ? err : out) };
}

function file(name: string, text: string): string {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
}

/** A client with an SVID of the workload, as its proxy has one. */
async function clientOf(id: SpiffeId): Promise<Client> {
  const [, , , , namespace = '', , service_account = ''] = id.split('/');
  const agent: AgentAttributes = {
    agent: { id: parseSpiffeId('spiffe://example.org/interlock/agent/join_token/n'), attestor: 'join_token' },
    selectors: [],
    claims: {},
  };
  const pod = { pod_name: 'p', pod_uid: 'u', node_name: 'n', container_name: 'c', image: 'i', labels: {} };
  const attributes = writeWorkloadAttributes({ k8s: { namespace, service_account, ...pod } });
  const key = generateKey('ec-p256');
  const { issuing, registry } = plane.serving.plane;
  const request = { spiffeId: id, rule: 'by-account', attributes };
  const { chain } = await issuing.workload(agent, request, createRequest(key), undefined);
  const tls = credentials.createSsl(
    Buffer.from(registry.ownBundle.x509Authorities.map(certificateToPem).join('')),
    Buffer.from(key.export({ type: 'pkcs8', format: 'pem' })),
    Buffer.from(chain.map(certificateToPem).join('')),
    { checkServerIdentity: () => undefined },
  );
  return new Client(plane.address, tls, {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.ssl_target_name_override': 'interlock-server',
  });
}

/** A proxy of the cart that has its first state in force. */
async function proxy(instance = 'a', hello: object = {}): Promise<TestProxy> {
  const made = new TestProxy(await clientOf(CART), { workloads: [CART], instance, ...hello });
  opened.later(() => made.close());
  const { version } = await made.next('state');
  made.apply(version);
  await applied(instance, Number(version));
  return made;
}

const points = () => plane.serving.enforcing.points;

/** Waits until a proxy of the cart is known to have a state in force. */
function applied(instance: string, version: number): Promise<void> {
  return known(instance, (point) => point.applied >= version);
}

function known(
  instance: string,
  fits: (point: { applied: number; connected: boolean; fault?: unknown }) => boolean,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = () => {
    const point = points().get(`${CART}#${instance}`);
    if (point === undefined || !fits(point)) return;
    stop();
    resolve();
  };
  const stop = points().subscribe(look);
  look();
  return promise;
}

/** Confirms every state from now on, as long as it is connected. */
function confirmAll(made: TestProxy): void {
  const confirming = async () => {
    for (;;) made.apply((await made.next('state')).version);
  };
  // It ends with its stream.
  confirming().catch(() => {});
}

const promote = (to: string, ...more: string[]) => run('promote', CART, '--to', to, ...more);

describe('policies', () => {
  test('are applied all or none, listed, and taken out of the target', async () => {
    expect((await run('policy', 'list')).out).toBe('No policy yet: interlock policy apply\n');
    const both = file('policies.yaml', `${POLICY('one')}---${POLICY('two', '/b')}`);
    expect(await run('policy', 'apply', both)).toEqual({
      code: 0,
      err: '',
      out: 'created    one\ncreated    two\n1 workload with a new target. "interlock policy list" shows stages.\n',
    });
    expect(await json('policy', 'apply', both)).toMatchObject({
      code: 0,
      value: { workloads: [], created: [], changed: [], unchanged: ['one', 'two'] },
    });
    const bad = file('bad.yaml', `${POLICY('one', '/c')}---\nkind: AccessPolicy`);
    expect(await run('policy', 'apply', bad)).toMatchObject({ code: 1, out: '' });
    expect(await json('policy', 'list')).toMatchObject({
      code: 0,
      value: {
        rollouts: [
          { workload: CART, tier: 'experimental', stage: 'draft', share: 0, target: ['one', 'two'] },
        ],
      },
    });
    const { out } = await run('policy', 'list');
    expect(out).toContain(CART);
    expect(out).toMatch(/draft +experimental +permissive +one, two/);
    expect(await run('policy', 'remove', CART, 'two')).toMatchObject({
      code: 0,
      out: `two is no longer in the target of ${CART}.\n`,
    });
    expect(await json('policy', 'remove', CART, 'one')).toMatchObject({
      code: 0,
      value: { rollout: { target: [] } },
    });
    const gone = await run('policy', 'remove', CART, 'one');
    expect(gone.code).toBe(1);
    expect(gone.err).toMatch(/has no\s+policy "one"/);
  });

  test('need a file, a directory with one, and a control plane', async () => {
    expect(await run('policy', 'apply', dir)).toMatchObject({
      code: 1,
      err: `interlock: there is no .yaml or .yml file in ${dir}\n`,
    });
    expect(await run('policy', 'apply')).toMatchObject({ code: 2 });
    await plane.stop();
    expect((await run('policy', 'list')).err).toMatch(
      /no control plane serves[^]*interlock\s+authority serve/,
    );
  });
});

describe('promote', () => {
  beforeEach(async () => {
    await run('policy', 'apply', file('p.yaml', POLICY('cart')));
  });

  test('goes step by step, and says who has confirmed', async () => {
    expect(await promote('shadow')).toEqual({
      code: 0,
      err: '',
      out: `${CART}: shadow, connections permissive.\nNo proxy is concerned now.\n`,
    });
    const one = await proxy();
    confirmAll(one);
    const { code, out } = await promote('canary', '--share', '50%');
    expect(code).toBe(0);
    expect(out).toMatch(
      /canary 50 %, connections permissive\.\n1 of 1 proxy confirmed, the last after \d+ ms\.\n/,
    );
    expect(await json('promote', CART, '--to', 'enforced')).toMatchObject({
      code: 0,
      value: {
        rollout: { stage: 'enforced', share: 1, enforced: ['cart'] },
        progress: { confirmed: [{ key: `${CART}#a`, ms: expect.any(Number) }], waiting: [] },
      },
    });
    await run('policy', 'apply', file('p2.yaml', POLICY('cart', '/b')));
    expect((await run('policy', 'list')).out).toMatch(/shadow; older set[^]*enforced/);
  });

  test('names proxies that have not confirmed: one that is connected makes it exit 4, one that is away gets it later', async () => {
    const [silent, away, refusing] = [await proxy('silent'), await proxy('away'), await proxy('refusing')];
    away.close();
    await known('away', ({ connected }) => !connected);
    void refusing.next('state').then(({ version }) => refusing.apply(version, 'limit', 'too large'));
    const refused = known('refusing', ({ fault }) => fault !== undefined);
    const moved = promote('shadow', '--wait', '1s');
    await refused;
    const { code, out } = await moved;
    expect(code).toBe(4);
    expect(out).toMatch(/^0 of 3 proxies confirmed\.$/m);
    expect(out).toMatch(/#away\s+not connected/);
    expect(out).toMatch(/NOT CONFIRMED +WHY\n/);
    expect(out).toMatch(/#silent\s+has not answered yet/);
    expect(out).toMatch(/#refusing\s+refused it \(limit\): too large/);
    expect(out).toContain('They are told again until they confirm.');
    silent.close();
  });

  test.each([
    [[], 'canary', ['--share', '10%'], /is in draft and cannot go to canary: move it to shadow\s+first/],
    [[], 'enforced', [], /is in draft and cannot go to enforced: move it to shadow\s+first/],
    [['shadow'], 'enforced', [], /is in shadow and cannot go to enforced: move it to canary\s+first/],
    [['shadow', 'canary'], 'draft', [], /is in canary and cannot go to draft: move it to shadow\s+first/],
    [
      ['shadow', 'canary', 'enforced'],
      'canary',
      ['--share', '10%'],
      /is in enforced and cannot go to\s+canary: move it to shadow\s+first/,
    ],
    [['shadow', 'canary', 'enforced'], 'enforced', [], /is already in enforced and cannot go to it\s+again/],
    [['shadow'], 'canary', [], /a canary needs a share of the proxies: more than 0 %, at most\s+100 %/],
    [['shadow'], 'canary', ['--share', '0'], /more than 0 %/],
  ])('after %j refuses %s, and says the step that comes first', async (before, to, more, says) => {
    for (const stage of before) await promote(stage, ...(stage === 'canary' ? ['--share', '1'] : []));
    const { code, err, out } = await promote(to, ...more);
    expect(out).toBe('');
    expect(err.replaceAll('\n', ' ')).toMatch(says);
    expect([1, 2]).toContain(code);
  });

  test('is misused without a stage, with another, with a share that is none, or for nobody', async () => {
    for (const args of [
      [CART],
      [CART, '--to', 'production'],
      [CART, '--to', 'canary', '--share', '200%'],
      ['--to', 'shadow'],
    ])
      expect(await run('promote', ...args), args.join(' ')).toMatchObject({ code: 2, out: '' });
    expect(await run('promote', 'cart', '--to', 'shadow')).toMatchObject({ code: 1, out: '' });
    const unknown = await run('promote', WEB, '--to', 'shadow');
    expect(unknown.code).toBe(1);
    expect(unknown.err.replaceAll(/\s+/g, ' ')).toMatch(/no policy protects .* apply one first/);
  });

  test('authentication changes how connections are taken', async () => {
    expect(await run('authentication', CART, 'strict')).toMatchObject({
      code: 0,
      out: `${CART}: draft, connections strict.\nNo proxy is concerned now.\n`,
    });
    expect(await json('authentication', WEB, 'plaintext')).toMatchObject({
      code: 0,
      value: { rollout: { authentication: 'plaintext' }, progress: { confirmed: [], waiting: [] } },
    });
    expect(await run('authentication', CART, 'none')).toMatchObject({
      code: 2,
      err: expect.stringContaining('a stage is one of plaintext, permissive, strict'),
    });
  });
});

describe('proxies', () => {
  test('are up to date, behind, refusing the newest, or away', async () => {
    expect(await run('proxies')).toMatchObject({
      code: 0,
      out: 'No proxy has connected.\n',
    });
    await proxy('good').then(confirmAll);
    await proxy('slow');
    const refusing = await proxy('refusing');
    (await proxy('gone')).close();
    await known('gone', ({ connected }) => !connected);
    await run('policy', 'apply', file('p.yaml', POLICY('cart')));
    const { version } = await refusing.next('state');
    refusing.apply(version, 'invalid_document', 'a rule cannot be read');
    await known('refusing', ({ fault }) => fault !== undefined);
    await applied('good', Number(version));
    const { code, out } = await run('proxies');
    expect(code).toBe(0);
    for (const [name, state] of [
      ['good', 'up to date'],
      ['slow', 'behind'],
      ['refusing', 'refused the newest'],
      ['gone', 'away'],
    ] as const)
      expect(out).toMatch(new RegExp(`#${name}\\s+proxy +${state} +1 +test`));
    expect(out).toMatch(
      /Kept their last good state\n[^]*#refusing\s+invalid_document +a rule cannot be read/,
    );
    expect(out).toContain('4 proxies, 3 connected.');
    const shown = await json('proxies');
    expect(shown.value['points']).toHaveLength(4);
  });
});

describe('release', () => {
  test.each([
    [['--all'], 'everything'],
    [['--cluster', 'eu-1'], 'cluster eu-1'],
    [['--namespace', 'shop'], 'namespace shop'],
    [['--workload', CART], CART],
    [['--policy', 'cart'], 'policy cart'],
  ])('%j: is told, listed, and armed', async (scope, text) => {
    confirmAll(await proxy());
    const { code, out } = await run('release', ...scope, '--reason', 'checkout fails', '--for', '2h');
    expect(code).toBe(0);
    const id = /rel-[0-9a-f]{12}/.exec(out)?.[0] ?? '';
    expect(out.replaceAll(/\s+/g, ' ')).toMatch(
      new RegExp(
        `^Released ${text}, until .*\\(in (1h 59m|2h)\\)\\. Undo: interlock arm ${id} 1 of 1 proxy confirmed, the last after \\d+ ms\\. CONFIRMED AFTER ${CART}#a \\d+ ms`,
      ),
    );
    const list = (await run('release', '--list')).out;
    expect(list.replaceAll(/\s+/g, ' ')).toMatch(new RegExp(`${id} ${text} in (1h 59m|2h) .*checkout fails`));
    expect(list).toContain('No drill yet: interlock release --drill');
    expect((await run('arm', id)).out).toMatch(/^Armed: [^]*\.\n1 of 1 proxy confirmed/);
    expect((await run('release', '--list')).out).toContain('Nothing is released.');
  });

  test('without --for lasts until it is armed; --all arms all, and twice does no harm', async () => {
    const first = await json('release', '--all', '--reason', 'x');
    expect(first).toMatchObject({
      code: 0,
      value: { release: { scope: { kind: 'all' }, reason: 'x' }, progress: { confirmed: [], waiting: [] } },
    });
    expect((await run('release', '--namespace', 'shop', '--reason', 'y')).out).toContain('until armed');
    expect((await run('release', '--list')).out).toMatch(/when armed/);
    expect((await json('release', '--list')).value['releases']).toHaveLength(2);
    expect((await run('arm', '--all')).out).toBe(
      'Armed: everything.\nArmed: namespace shop.\nNo proxy is concerned now.\n',
    );
    expect((await run('arm', '--all')).out).toContain('Nothing was released.');
  });

  test('exits 4 while a proxy has not confirmed, whether it is connected or away', async () => {
    const silent = await proxy('silent');
    const { code, out } = await run('release', '--all', '--reason', 'x', '--wait', '1s');
    expect([code, /#silent\s+has not answered yet/.test(out)]).toEqual([4, true]);
    silent.close();
    await known('silent', ({ connected }) => !connected);
    const armed = await run('arm', '--all', '--wait', '1s');
    expect([armed.code, /#silent\s+not connected/.test(armed.out)]).toEqual([4, true]);
  });

  test('a drill changes nothing, and is remembered', async () => {
    const one = await proxy();
    confirmAll(one);
    const { code, out } = await run('release', '--drill');
    expect(code).toBe(0);
    expect(out).toMatch(/Nothing\s+was\s+changed\.\n1 of 1 proxy confirmed/);
    expect((await run('release', '--list')).out).toMatch(/Last drill .* by .*: 1 of 1 confirmed\./);
    expect(await json('release', '--drill')).toMatchObject({ code: 0, value: { progress: { waiting: [] } } });
    await proxy('silent');
    expect(await run('release', '--drill', '--wait', '1s')).toMatchObject({ code: 4 });
  });

  test('is misused without a scope, with two, without a reason, or with a time that is none', async () => {
    const wrong: [string[], RegExp][] = [
      [
        ['--reason', 'x'],
        /say what to release with one of --all, --cluster, --namespace, --workload, --policy, --local/,
      ],
      [['--all', '--namespace', 'shop', '--reason', 'x'], /one of --all/],
      [['--all', '--drill'], /one of --all/],
      [['--all', '--list'], /one of --all/],
      [['--all'], /say why with --reason/],
      [['--all', '--reason', '  '], /say why with --reason/],
      [['--all', '--reason', 'x', '--for', 'soon'], /a duration is written like 30s/],
      [['--all', '--reason', 'x', '--for', '0s'], /at least 1s/],
      [['--workload', 'cart', '--reason', 'x'], /cart/],
      [['--local', '--all', '--reason', 'x'], /one of --all|only --workload narrows/],
    ];
    for (const [args, says] of wrong) {
      const { code, err, out } = await run('release', ...args);
      expect([code, out], args.join(' ')).toEqual([2, '']);
      expect(err.replaceAll(/\s+/g, ' '), args.join(' ')).toMatch(says);
    }
    expect((await run('release', '--list')).out).toContain('Nothing is released.');
    for (const args of [[], ['rel-1', '--all']]) expect(await run('arm', ...args)).toMatchObject({ code: 2 });
    const unknown = await run('arm', 'rel-000000000000');
    expect(unknown.err).toMatch(/no release rel-000000000000 is in force[^]*--list/);
    expect(unknown.code).toBe(1);
    const local = await run('release', '--local', '--reason', 'x');
    expect(local.code).toBe(1);
    expect(local.err.replaceAll(/\s+/g, ' ')).toContain('no proxy answers on');
  });
});

describe('shadow', () => {
  const report = (made: TestProxy, sequence: number, flips: Parameters<typeof flipAt>[1][]) =>
    made.send({
      case: 'report',
      value: reportOf(sequence, { flips: flips.map((flip) => flipAt(Date.now(), { to: CART, ...flip })) }),
    });

  test('lists flips and refusals with caller, rule and count', async () => {
    await run('policy', 'apply', file('p.yaml', POLICY('cart')));
    expect(await run('shadow')).toEqual({
      code: 0,
      err: '',
      out: 'No flips: the target sets decide as what is in force.\n',
    });
    const one = await proxy();
    const rule = { allowed: false, decidedBy: 'no-rule' };
    report(one, 1, [
      { count: 3n },
      {
        from: { address: '192.0.2.7' },
        before: { allowed: false, decidedBy: 'deny', policy: 'cart', rule: 'old' },
        after: { allowed: true, decidedBy: 'rule', policy: 'cart', rule: 'web' },
      },
      { action: { kind: 'tcp', port: 6379 }, before: rule, after: rule, refused: true },
    ]);
    await one.next('taken');
    const { code, out } = await run('shadow', '--to', CART);
    expect(code).toBe(3);
    const text = out.replaceAll(/\s+/g, ' ');
    expect(text).toContain('would be denied');
    expect(text).toMatch(/unauthenticated:192\.0\.2\.7 -> \S+cart would be allowed/);
    expect(text).toMatch(/cart REFUSED tcp :6379/);
    expect(text).toMatch(/allowed -> no rule/);
    expect(text).toMatch(/old -> web/);
    expect(out).toContain('3 flips.');
    expect((await json('shadow')).value['flips']).toHaveLength(3);
    expect(await json('shadow', '--to', WEB)).toEqual({ code: 0, value: { flips: [] } });
  });

  test('--follow prints what is there, then only what is new', async () => {
    const one = await proxy();
    report(one, 1, [{ count: 2n }]);
    await one.next('taken');
    const lines: string[] = [];
    const { promise, resolve } = Promise.withResolvers<number>();
    const out = Object.assign(new Writable(), {
      write(text: string) {
        lines.push(text);
        if (lines.length === 1) report(one, 2, [{ count: 5n }]);
        // A reader that has gone: it ends the command.
        else throw Object.assign(new Error('gone'), { code: 'EPIPE' });
        return true;
      },
    });
    const terminal = new Terminal(out, new Writable({ write: (_c, _e, done) => done() }), { NO_COLOR: '1' });
    void main(['shadow', '--follow', '--state', plane.state], { terminal, now: Date.now }).then(resolve);
    expect(await promise).toBe(0);
    expect(lines.map((line) => /x\d+/.exec(line)?.[0])).toEqual(['x2', 'x5']);
    expect(lines[0]).toMatch(
      /^\d\d:\d\d:\d\d {2}would be denied {2}spiffe:\S+ -> \S+cart {2}\S.* allowed -> no rule\n$/,
    );
  });
});

describe('preflight', () => {
  const results = async (...args: string[]) => {
    const { code, value } = await json('preflight', ...args);
    const checks = value['checks'] as { check: string; state: string; what?: string }[];
    const failed = checks.filter(({ state }) => state === 'failed').map(({ check }) => check);
    return { code, ready: value['ready'], all: checks.map(({ check }) => check), failed };
  };

  test('lists every check, and fails each for its own reason', async () => {
    await run('policy', 'apply', file('p.yaml', POLICY('cart', '/a', 'standard')));
    const start = await results(CART);
    expect(start).toMatchObject({ code: 3, ready: false });
    expect(start.all).toEqual([
      'identities',
      'bundles',
      'clocks',
      'proxies',
      'plaintext',
      'flips',
      'readiness',
      'losses',
      'drill',
    ]);
    expect(start.failed).toEqual(['identities', 'proxies', 'readiness', 'drill']);
    const one = await proxy('a', { now: BigInt(Date.now()) });
    expect((await results(CART)).failed).toEqual(['readiness', 'drill']);
    confirmAll(one);
    await run('release', '--drill');
    expect((await results(CART)).failed).toEqual(['readiness']);

    const two = await proxy('b', { now: BigInt(Date.now() - 60_000) });
    expect((await results(CART)).failed).toEqual(['clocks', 'readiness']);
    two.close();
    await known('b', ({ connected }) => !connected);
    expect((await results(CART)).failed).toContain('proxies');
    vi.spyOn(plane.serving.plane.link, 'behind').mockReturnValue(['node-1']);
    expect((await results(CART)).failed).toContain('bundles');
    const { code, out } = await run('preflight', CART);
    expect(code).toBe(3);
    expect(out).toMatch(/Not ready: 4 checks failed\.\n$/);
    expect(out.replaceAll(/\s+/g, ' ')).toContain('see why these agents do not confirm: node-1');
  });

  test('counts flips, callers in plain text, and what an Envoy would let pass', async () => {
    await run('policy', 'apply', file('p.yaml', POLICY('cart')));
    const one = await proxy('a');
    const now = Date.now();
    expect((await results(CART)).failed).toEqual(['readiness']);
    const seen = { firstSeen: BigInt(now), lastSeen: BigInt(now) };
    const plain = { from: { address: '192.0.2.7' }, to: CART, port: 80, connections: 4n, ...seen };
    one.send({
      case: 'report',
      value: reportOf(1, {
        accesses: [accessAt(now, { to: CART, hour: Math.floor(now / 3_600_000) })],
        flips: [flipAt(now, { to: CART })],
        plaintext: [plain],
      }),
    });
    await one.next('taken');
    expect((await results(CART)).failed).toEqual(['plaintext', 'flips', 'readiness']);
    expect(await results('strict', CART)).toMatchObject({
      code: 3,
      all: ['identities', 'bundles', 'clocks', 'proxies', 'plaintext'],
      failed: ['plaintext'],
    });
    expect((await run('preflight', 'strict', CART)).out.replaceAll(/\s+/g, ' ')).toContain('192.0.2.7 (4)');

    const document = `
apiVersion: interlock.dev/v1alpha1
kind: Proxy
metadata: { name: cart }
spec:
  workload: ${CART}
  inbound: [{ listen: "0.0.0.0:8443", forward: "127.0.0.1:3306", protocol: tcp, serverFirst: true }]
`;
    expect(await run('envoy', 'apply', file('proxy.yaml', document))).toMatchObject({ code: 4 });
    expect((await results(CART)).failed).not.toContain('losses');
    plane.serving.enforcing.hub.attach(
      { kind: 'envoy', identity: CART, instance: 'e', workloads: [CART], version: '1.40' },
      0,
      { push: () => {} },
    );
    expect((await results(CART)).failed).toContain('losses');
    const { out } = await run('preflight', CART);
    expect(out.replaceAll(/\s+/g, ' ')).toMatch(/port 3306 speaks first/);
  });

  test('is ready for strict where nobody calls in plain text; is misused without a workload', async () => {
    await proxy();
    expect(await run('preflight', 'strict', CART)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/Ready\.\n$/),
    });
    for (const args of [['strict'], [], [CART, CART]])
      expect(await run('preflight', ...args), args.join(' ')).toMatchObject({ code: 2, out: '' });
  });
});

describe('envoy', () => {
  const document = (more = '') => `
apiVersion: interlock.dev/v1alpha1
kind: Proxy
metadata: { name: cart }
spec:
  ${more}
  inbound: [{ listen: "0.0.0.0:8443", forward: "127.0.0.1:8080" }]
`;

  test('apply takes the document of a workload, remove takes it away', async () => {
    const good = file('proxy.yaml', document(`workload: ${CART}`));
    expect(await run('envoy', 'apply', good)).toEqual({
      code: 0,
      err: '',
      out: `${CART} has a new Proxy document.\nNo proxy is concerned now.\n`,
    });
    expect(await json('envoy', 'apply', good)).toMatchObject({
      code: 0,
      value: { workload: CART, progress: { confirmed: [], waiting: [] } },
    });
    expect(await run('envoy', 'remove', CART)).toEqual({
      code: 0,
      err: '',
      out: `${CART} has no Proxy document any more.\n`,
    });
    const again = await json('envoy', 'remove', CART);
    expect(again).toMatchObject({ code: 1, value: { error: { code: 'not_found' } } });
  });

  test('apply refuses what names no workload, is no Proxy, or what no Envoy can do, and says where', async () => {
    const cases: [string, RegExp][] = [
      [document(), /spec\.workload says whose Envoy it is/],
      [POLICY('cart'), /no Proxy: kind/],
      [document(`workload: ${CART}\n  colour: red`), /colour/],
      [
        document(`workload: ${CART}`).replace('8080" }', '8080", sendProxyHeader: v2 }'),
        /PROXY header: Envoy is not configured to/,
      ],
      [document(`workload: ${CART}`).replace('0.0.0.0', 'cart.internal'), /write an IP address/],
    ];
    for (const [text, says] of cases) {
      const { code, err, out } = await run('envoy', 'apply', file('proxy.yaml', text));
      expect([code, out], text).toEqual([1, '']);
      expect(err.replaceAll(/\s+/g, ' ')).toMatch(says);
    }
    expect(await run('envoy', 'apply', join(dir, 'none.yaml'))).toMatchObject({ code: 1 });
    expect(await run('envoy', 'apply')).toMatchObject({ code: 2 });
    expect(await run('envoy', 'remove', 'cart')).toMatchObject({ code: 1, out: '' });
  });
});

import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { authorizeAny, connectMtls, X509Source } from '../../src/workload/index.ts';
import { Opened } from '../identity/harness.ts';
import { DEADLINE_MS } from '../identity/watched.ts';
import { hasNginx, Nginx } from './nginx.ts';
import { idOf, Program, type RunningProxy } from './processes.ts';
import { Estate, noShop, policyOf, RULES, USERS } from './shop.ts';

const opened = new Opened();
afterAll(() => opened.close());
const alone = noShop('requests that two programs read differently');
const withNginx = hasNginx();
if (!withNginx) console.log('Left out: nginx behind the proxies: it is not on this machine.');

interface Case {
  readonly name: string;
  readonly raw: string;
  /** What may be answered. */
  readonly status: readonly number[];
  /** And then, where a second answer has to come. */
  readonly then?: readonly number[];
}

const CASES = JSON.parse(readFileSync(new URL('smuggling.json', import.meta.url), 'utf8')) as readonly Case[];
/** A program, the two proxies before it, and what it was asked. */
interface Behind {
  readonly inbound: RunningProxy;
  readonly outbound: RunningProxy;
  readonly direct: number;
  readonly seen: () => Promise<readonly string[]>;
}

/** Identity of this process: that of web, for connections without a proxy of its own. */
const TESTER = `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: tester }
spec: { spiffeId: /ns/shop/sa/web, selectors: ["unix:uid:0"], ttl: 1h }
`;
/** The only path that the policy allows, and one that nobody may ever reach. */
const ALLOWED = '/items';
const HIDDEN = /\/admin/;

/** How long a program without a proxy before it is waited for: it may keep a connection open for ever. */
const DIRECT_MS = 2000;

/**
 * Sends bytes and gives all that comes back until the other end closes, or `enough` answers have come, or nothing has
 * come for `patience` milliseconds. A proxy of this test ends every connection by itself.
 */
function answers(
  socket: Socket,
  bytes: Buffer,
  enough: number,
  patience = DEADLINE_MS,
): Promise<readonly number[]> {
  return new Promise((resolve) => {
    let text = '';
    const statuses = () =>
      [...text.matchAll(/(?:^|\r\n|[^\r\n])HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
    const done = () => {
      socket.destroy();
      resolve(statuses());
    };
    socket.on('error', () => {});
    socket.setTimeout(patience, done);
    socket.on('close', done);
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (statuses().filter((status) => status >= 200).length >= enough && enough > 0) done();
    });
    socket.write(bytes);
  });
}

describe.skipIf(alone !== undefined)('requests that two programs could read differently', () => {
  let estate: Estate;
  let good: X509Source;
  const behind = new Map<string, Behind>();

  beforeAll(async () => {
    estate = await Estate.start(opened, { rules: `${RULES}---${TESTER}` });
    good = await X509Source.open({ endpoint: estate.node.endpoint });
    opened.later(() => good.close());
    const { program, port } = await Program.start(opened, USERS.catalogue, 'http');
    const nginx = withNginx ? await Nginx.start(opened) : undefined;
    const timeouts = { exchange: 3000, head: 1000, idle: 1000, uplinkPool: 500, linger: 200 };
    const start = async (name: string, at: number, seen: () => Promise<readonly string[]>) => {
      const route = { listen: '127.0.0.1:0', forward: `127.0.0.1:${at}`, port: 8080 };
      const inbound = await estate.proxy('catalogue', { instance: name, inbound: [route], timeouts });
      const to = `127.0.0.1:${inbound.inbound[0]}`;
      const way = { listen: '127.0.0.1:0', to, peer: idOf('catalogue') };
      const outbound = await estate.proxy('web', { instance: `to-${name}`, outbound: [way], timeouts });
      behind.set(name, { inbound, outbound, direct: at, seen });
    };
    await Promise.all([
      start('node', port, () => program.seen()),
      nginx && start('nginx', nginx.port, () => Promise.resolve(nginx.seen)),
    ]);
    const yaml = policyOf('catalogue', {
      web: { from: ['web'], to: `{ http: { methods: [GET, POST], paths: [${ALLOWED}] } }` },
    });
    const workload = idOf('catalogue');
    await estate.plane.api.post('/v1/policies', { yaml });
    for (const move of [{ to: 'shadow' }, { to: 'canary', share: 1 }, { to: 'enforced' }] as const)
      await estate.plane.api.call('rollouts.move', {
        params: { workload },
        body: { ...move, anyway: 'a test' },
      });
    await estate.run(0, 'authentication', workload, 'strict');
  });

  /** A connection to a program: by the way of the own proxy, or by mutual TLS without one. */
  async function open(program: string, way: string): Promise<Socket> {
    const { inbound, outbound } = behind.get(program) ?? {};
    const at = { host: '127.0.0.1', port: inbound?.inbound[0] ?? 0 };
    const socket =
      way === 'two proxies'
        ? connect(outbound?.outbound[0] ?? 0, '127.0.0.1')
        : (await connectMtls(at, { source: good, authorize: authorizeAny() })).socket;
    return socket.on('error', () => {});
  }

  const WAYS = ['node', ...(withNginx ? ['nginx'] : [])].flatMap((program) =>
    ['two proxies', 'one proxy'].map((way) => [program, way] as const),
  );

  test.each(withNginx ? ['node', 'nginx'] : ['node'])(
    'reach %s where no proxy stands before it: the cases bite',
    async (program) => {
      const { direct, seen } = behind.get(program) ?? { direct: 0, seen: undefined };
      await Promise.all(
        CASES.map(({ raw }) =>
          answers(connect(direct, '127.0.0.1'), Buffer.from(raw, 'latin1'), 2, DIRECT_MS),
        ),
      );
      const reached = ((await seen?.()) ?? []).filter((line) => HIDDEN.test(line));
      expect(reached.length).toBeGreaterThan(4);
    },
  );

  test.each(WAYS)('reach %s over %s as the one that was judged, or not at all', async (program, way) => {
    const seen = behind.get(program)?.seen ?? (() => Promise.resolve([]));
    const before = (await seen()).length;
    expect(CASES.length).toBeGreaterThan(50);
    const wrong: object[] = [];
    for (const { name, raw, status, then } of CASES) {
      const got = await answers(
        await open(program, way),
        Buffer.from(raw, 'latin1'),
        then === undefined ? 1 : 2,
      );
      const final = got.filter((each) => each >= 200);
      // Where the first answer can be only one, the second has to come as well.
      const isSecond =
        then === undefined || (final[1] === undefined ? status.length > 1 : then.includes(final[1]));
      const isAsExpected = status.includes(final[0] ?? 0) && isSecond;
      if (!isAsExpected) wrong.push({ name, got, status, second: then });
      // Whoever calls next on these proxies' connections is answered as ever.
      const next = await answers(
        await open(program, way),
        Buffer.from(`GET ${ALLOWED} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
        0,
      );
      if (next.length !== 1 || next[0] !== 200) wrong.push({ name, next });
    }
    expect(wrong).toEqual([]);
    expect((await seen()).slice(before).filter((line) => HIDDEN.test(line))).toEqual([]);
  });

  test.each(WAYS)(
    'and paths in every encoding reach %s over %s only where they mean the one path',
    async (program, way) => {
      const seen = behind.get(program)?.seen ?? (() => Promise.resolve([]));
      const before = (await seen()).length;
      const forms = Array.from({ length: 256 }, (_, byte) => {
        const [low, high] = [
          byte.toString(16).padStart(2, '0'),
          byte.toString(16).padStart(2, '0').toUpperCase(),
        ];
        return [
          `/%${low}dmin`,
          `/admin%${high}`,
          `${ALLOWED}/..%${low}admin`,
          `${ALLOWED}%${low}/../admin`,
          `/%${high}%${low}/admin`,
          `${ALLOWED}%${low}..%2fadmin`,
          `/%25${low}admin`,
        ];
      }).flat();
      const socket = { now: await open(program, way) };
      const odd = new Map<string, number>();
      for (const path of forms) {
        if (socket.now.destroyed || !socket.now.writable) socket.now = await open(program, way);
        const [status = 0] = await once(socket.now, `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
        if (status !== 400 && status !== 403) odd.set(path, status);
      }
      socket.now.destroy();
      expect(Object.fromEntries(odd)).toEqual({});
      expect((await seen()).slice(before)).toEqual([]);
    },
  );

  /** One request on a connection that stays open where it can. */
  function once(socket: Socket, request: string): Promise<readonly number[]> {
    return new Promise((resolve) => {
      let text = '';
      const done = () => {
        socket.off('data', take).off('close', done).off('end', done);
        const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(text) ?? [];
        if (/connection: close/i.test(text) || text === '') socket.destroy();
        resolve(status === undefined ? [] : [Number(status)]);
      };
      const take = (chunk: Buffer) => {
        text += chunk.toString('latin1');
        const length = /content-length: (\d+)\r\n/i.exec(text)?.[1];
        const end = text.indexOf('\r\n\r\n');
        if (end >= 0 && text.length >= end + 4 + Number(length ?? 0)) done();
      };
      socket.on('data', take).on('close', done).on('end', done);
      socket.write(request);
    });
  }
});

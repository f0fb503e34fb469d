import { readdirSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { idOf } from '../../enforcement/processes.ts';
import { eventually } from '../../enforcement/shop.ts';
import { expectSame, expectThat } from '../identity/checks.ts';
import {
  accesses,
  askedOf,
  type AccessShown,
  ask,
  type Bench,
  BOTH,
  confirmed,
  denied,
  flip,
  goesOn,
  heard,
  isUpToDate,
  key,
  line,
  wronglyServed,
  points,
  promote,
  reached,
  REPORT,
  stages,
} from './bench.ts';
import { SHARE } from './scene.ts';

/** Who is there, what was learned of whom, and what is proposed from it. */
export async function checkLearning(bench: Bench): Promise<void> {
  const { scene, checks } = bench;
  checks.group('Learning');
  await checks.check('both kinds of proxy are connected and up to date', async () => {
    await isUpToDate(bench, 4);
    const all = await points(bench);
    const kinds = BOTH.map((service) => all.find((point) => point.key === key(service))?.kind);
    expectSame('the kinds', kinds, ['envoy', 'proxy']);
    return `shop: ${kinds[0]}, store: ${kinds[1]}`;
  });
  scene.load();
  await checks.check('web -> shop -> store is served, and the shop learns who calls', async () => {
    await goesOn(bench);
    const seen = (await scene.shop.program.seen()).at(-1) ?? '';
    expectThat(seen.includes(`URI=${idOf('web')}`), seen);
    return seen.replace(/Hash=[^;]*;?/, '');
  });
  await checks.check('both report who called whom: all with mutual TLS', async () => {
    const [shop, store] = await eventually(async () => {
      const [[a], [b]] = [await accesses(bench, 'shop'), await accesses(bench, 'store')];
      return a !== undefined && b !== undefined && ([a, b] as const);
    }, 'evidence of both hops');
    expectSame('the callers', [shop.from, store.from], [idOf('web'), idOf('shop')]);
    const of = ({ action: { kind, port, path = '' } }: AccessShown) => `${kind} ${port} ${path}`.trim();
    expectSame('the actions', [of(shop), of(store)], ['http 8080 /items', 'tcp 6379']);
    const { plaintext, mutual } = shop.evidence;
    expectThat(
      plaintext + store.evidence.plaintext === 0 && mutual > 0 && store.evidence.mutual > 0,
      'plain',
    );
    return 'web GET /items by Envoy, shop tcp:6379 by the built-in proxy';
  });
  await checks.check('what is proposed breaks nothing of it', async () => {
    const dir = scene.path('policies');
    await eventually(async () => {
      const out = await scene.says(0, 'propose', '--out', dir);
      return out.includes('Wrote 2 policies') && !out.includes('DOUBTS');
    }, 'two proposals without a doubt');
    await scene.says(0, 'rehearse', dir);
    await scene.says(0, 'policy', 'apply', dir);
    return `${readdirSync(dir).filter((name) => !name.startsWith('doubts')).length} policies, no flip`;
  });
}

/** Shadow, a canary that is taken back, and one that is not. */
export async function checkStages(bench: Bench): Promise<void> {
  const { scene, checks } = bench;
  checks.group('Stages');
  await checks.check('shadow: both confirm', () => promote(bench, 'shadow'));
  await checks.check('shadow: what the targets would deny passes, and is a flip at both', async () => {
    expectSame('the report', await ask(scene.web, REPORT), 200);
    expectSame('the store', await line(scene.web.toStore), 'echoed');
    const shop = await flip(bench, 'shop', ({ action, refused }) => action.path === REPORT && !refused);
    const store = await flip(bench, 'store', ({ from, refused }) => from.id === idOf('web') && !refused);
    for (const { before, after } of [shop, store])
      expectSame('today, target', [before.allowed, after.allowed], [true, false]);
    await goesOn(bench);
    return `shop: web GET ${REPORT}, ${shop.after.decidedBy}; store: web tcp, ${store.after.decidedBy}`;
  });
  const share = `${SHARE * 100}%`;
  await checks.check(`canary of ${share}: both are in it, and confirm`, () =>
    promote(bench, 'canary', '--share', share),
  );
  await checks.check('canary: it bites at both', () => denied(bench, '/canary'));
  for (const service of BOTH)
    await checks.check(
      `canary: what was known to be good is refused at the ${service}, and it falls back by itself`,
      async () => {
        if (service === 'shop') expectSame('the report', await ask(scene.web, REPORT), 403);
        else expectSame('the store', await line(scene.web.toStore), 'closed');
        const is = (stage: string) => async () => (await stages(bench))[service] === stage;
        await eventually(is('shadow'), 'the stage before', () => stages(bench));
        await isUpToDate(bench, 4);
        if (service === 'shop') expectSame('the report', await ask(scene.web, REPORT), 200);
        else expectSame('the store', await line(scene.web.toStore), 'echoed');
        return 'shadow again, and served';
      },
    );
  await checks.check('canary again, of all, and enforced', async () => {
    await promote(bench, 'canary', '--share', '100%');
    return promote(bench, 'enforced');
  });
  await checks.check('strict: plain text is refused from now on', async () => {
    const told: string[] = [];
    for (const service of BOTH)
      told.push(`${service}: ${confirmed(await scene.says(0, 'authentication', idOf(service), 'strict'))}`);
    return told.join('; ');
  });
  await checks.check('through all of it not one request of web has failed', () => goesOn(bench));
}

/** A valid identity of the wrong workload, and no identity. */
export async function checkAttackers(bench: Bench): Promise<void> {
  const { scene, checks } = bench;
  checks.group('Attackers');
  const before = await wronglyServed(bench);
  await checks.check('a valid identity of another workload is denied at both', () => denied(bench));
  await checks.check('... and both report it, with who it was', async () => {
    const shop = await flip(bench, 'shop', ({ from, refused }) => from.id === idOf('mail') && refused);
    const store = await flip(bench, 'store', ({ from, refused }) => from.id === idOf('mail') && refused);
    return `shop: mail ${shop.action.method} ${shop.action.path}, ${shop.after.decidedBy}; store: mail ${store.action.kind}, ${store.after.decidedBy}`;
  });
  await checks.check('who may call may do what the rules say, and no more', async () => {
    expectSame('DELETE /items', await ask(scene.web, '/items', 'DELETE'), 403);
    await flip(bench, 'shop', ({ action, refused }) => refused && action.method === 'DELETE');
    return 'DELETE /items: 403';
  });
  await checks.check(
    'a place in the network without an identity is refused at both, and recorded',
    async () => {
      const { listening } = scene;
      expectSame('at the shop', await line(listening.shop, 'GET /items HTTP/1.0\r\n\r\n'), 'closed');
      expectSame('at the store', await line(listening.store), 'closed');
      const ofAddress = ({ from }: { from: { kind: string; from?: string } }) =>
        from.kind === 'unauthenticated' && from.from === '127.0.0.1';
      const store = await flip(bench, 'store', (seen) => ofAddress(seen) && seen.refused);
      const shop = await eventually(
        async () =>
          (await accesses(bench, 'shop')).find(
            ({ from, evidence }) =>
              from === 'unauthenticated:127.0.0.1' && (evidence.outcomes['failed'] ?? 0) > 0,
          ),
        'plain text at the shop',
        () => accesses(bench, 'shop'),
      );
      return `store: ${store.from.from}, ${store.after.decidedBy}; shop: 127.0.0.1, ${shop.evidence.outcomes['failed']} failed`;
    },
  );
  await checks.check('none of it has reached a program', async () => {
    expectSame('what was let through', await wronglyServed(bench), before);
    return 'nothing';
  });
}

/** Release, arm and drill, by both kinds. */
export async function checkButton(bench: Bench): Promise<void> {
  const { scene, checks } = bench;
  checks.group('The red button');
  await checks.check('release --drill: all confirm, and nothing changes', async () => {
    const told = confirmed(await scene.says(0, 'release', '--drill'));
    await denied(bench);
    return told;
  });
  await checks.check('release --all: what was denied passes at both', async () => {
    const out = await scene.says(0, 'release', '--all', '--reason', 'a try');
    const seen = [
      await ask(scene.mail, '/items'),
      await ask(scene.web, '/released'),
      await line(scene.mail.toStore),
    ];
    expectSame('what came back', seen, [200, 200, 'echoed']);
    const ms = BOTH.map((service) => `${service} ${new RegExp(`${key(service)} +(\\d+ ms)`).exec(out)?.[1]}`);
    expectThat(!ms.join().includes('undefined'), out);
    return `${confirmed(out)} (${ms.join(', ')})`;
  });
  await checks.check('release --all: without an identity nobody gets in', async () => {
    expectSame('plain text', await line(scene.listening.store), 'closed');
    return 'mutual TLS stays';
  });
  await checks.check('arm --all: denied again at both', async () => {
    const told = confirmed(await scene.says(0, 'arm', '--all'));
    await denied(bench);
    return told;
  });
  await checks.check('not one request of web has failed', () => goesOn(bench));
}

/** A state that Envoy refuses. */
export async function checkRefusal(bench: Bench): Promise<void> {
  const { scene, checks } = bench;
  checks.group('A state that Envoy refuses');
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  // A server that listens on a TCP port has an address of this kind.
  const { port } = taken.address() as AddressInfo;
  scene.opened.later(() => taken.close());
  const more = [{ listen: `127.0.0.1:${port}`, forward: '127.0.0.1:1', port: 9090 }];
  await checks.check('a listener on a port that is taken: refused, with what Envoy says', async () => {
    const { code, out } = await scene.applyShop({ more });
    expectSame('the exit code', code, 4);
    expectThat(out.includes('refused it'), out);
    const { fault, applied, wanted } = (await points(bench)).find((point) => point.key === key('shop')) ?? {};
    expectThat(
      fault !== undefined && Number(applied) < Number(wanted),
      JSON.stringify({ fault, applied, wanted }),
    );
    const listed = await scene.says(0, 'proxies');
    expectThat(/refused the newest/.test(listed) && listed.includes(`127.0.0.1:${port}`), listed);
    return fault?.message ?? '';
  });
  await checks.check('... the last good state stays in force', async () => {
    await denied(bench);
    return goesOn(bench);
  });
  await checks.check('... and a document without it is taken', async () => {
    const { out } = await scene.applyShop();
    const told = confirmed(out);
    await isUpToDate(bench, 4);
    return told;
  });
}

/** What both have counted, and what the programs were asked. */
async function countedOnce(bench: Bench): Promise<string> {
  const { failed, reasons } = await bench.scene.rest();
  expectThat(failed === 0, `${failed} requests failed: ${reasons.join(', ')}`);
  const told: string[] = [];
  for (const service of BOTH) {
    const asked = await askedOf(bench, service);
    await eventually(
      async () => (await reached(bench, service)) >= asked,
      `evidence of all that reached the ${service}`,
      async () => ({ asked, reported: await reached(bench, service) }),
    );
    expectSame(`what the ${service} has counted`, await reached(bench, service), asked);
    told.push(`${service}: ${asked}`);
  }
  return told.join(', ');
}

/** The control plane is killed under load. */
export async function checkRestart(bench: Bench): Promise<void> {
  const { scene, checks } = bench;
  checks.group('The control plane is killed');
  await checks.check('before: each call is in the evidence once', () => countedOnce(bench));
  scene.load();
  await goesOn(bench);
  const known = await reached(bench, 'shop');
  let back = 0;
  await checks.check('away: both go on, and deny whom they denied', async () => {
    await scene.kill();
    await denied(bench, '/away');
    return goesOn(bench);
  });
  await checks.check('back: both are connected, and deny whom they denied', async () => {
    await scene.serve();
    await isUpToDate(bench, 4);
    await heard(bench, '/heard');
    back = await askedOf(bench, 'shop');
    for (const service of BOTH) expectSame(service, (await stages(bench))[service], 'enforced');
    await denied(bench, '/back');
    return goesOn(bench);
  });
  await checks.check('not one request of web has failed', async () => {
    const { ok, failed } = await scene.rest();
    expectSame('failed', failed, 0);
    return `${ok} requests`;
  });
  await checks.check('store: each call is in the evidence once', async () => {
    const asked = await askedOf(bench, 'store');
    const all = async () => (await reached(bench, 'store')) >= asked;
    await eventually(all, 'the evidence', async () => [asked, await reached(bench, 'store')]);
    expectSame('what it counted', await reached(bench, 'store'), asked);
    return `${asked}`;
  });
  await checks.check(
    'shop: no call is in the evidence twice; what Envoy was sending to the control plane that died is missing',
    async () => {
      await heard(bench, '/heard-again');
      const asked = await askedOf(bench, 'shop');
      const counted = await reached(bench, 'shop');
      const missing = asked - counted;
      expectThat(missing >= 0, `${counted} counted of ${asked}`);
      expectThat(
        missing <= back - known,
        `${missing} are missing; ${back - known} were asked before Envoy was heard again`,
      );
      const dropped = await scene.envoyCounter('logs_dropped');
      return `${counted} of ${asked}: ${missing} of the ${back - known} that were asked before Envoy was heard again are missing; it says ${dropped} dropped`;
    },
  );
  await checks.check('the audit log is whole', () => scene.says(0, 'authority', 'audit', '--verify'));
}

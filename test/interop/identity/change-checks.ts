import { setTimeout as pause } from 'node:timers/promises';
import { type Child, until } from './children.ts';
import { expectSame, expectThat } from './checks.ts';
import { codeOf, contextOf, type ContextSeen, type Dialed, portOf, type SvidSeen } from './client.ts';
import { directoryOf, idOf, OWN, ruleFor, type Scene, workload } from './scene.ts';
import { fetched } from './x509-checks.ts';

/** What reaches go-spiffe's streams while it watches: rules, renewal, another authority, a restart, a revocation. */
export async function checkChanges(scene: Scene): Promise<void> {
  await checkRules(scene);
  const brief = await saveBrief(scene);
  await checkRotation(scene);
  await checkRestart(scene);
  await checkRevocation(scene);
  await checkRenewal(scene, brief);
}

async function checkRules(scene: Scene): Promise<void> {
  const { checks, own } = scene;
  const late = workload(scene, 'late').start('watch');
  try {
    await checks.check('a new rule: the watch of a refused workload gets the SVID', async () => {
      await late.line((line) => (codeOf(line) === 'PermissionDenied' ? true : undefined));
      await own.rules(ruleFor('late'));
      const { svids } = await late.line(contextOf, 0, 'the SVID');
      expectSame('the ID', svids[0]?.id, idOf('late'));
      return 'after go-spiffe asked again by itself';
    });
    await checks.check('a changed rule: pushed into the stream that is open', async () => {
      const { mark } = late;
      await own.rules(ruleFor('late', { hint: 'changed' }));
      await late.line((line) => (contextOf(line)?.svids[0]?.hint === 'changed' ? true : undefined), mark);
      return 'the hint changed';
    });
    await checks.check('a deleted rule: the stream ends with PermissionDenied', async () => {
      const { mark } = late;
      await own.interlock('identity', 'rules', 'delete', 'late');
      await late.line((line) => (codeOf(line) === 'PermissionDenied' ? true : undefined), mark);
      return 'PermissionDenied';
    });
  } finally {
    await late.stop();
  }
}

async function checkRotation(scene: Scene): Promise<void> {
  const { checks, own } = scene;
  const web = workload(scene, 'web').start('watch');
  const server = workload(scene, 'db').start('serve', idOf('web'));
  const saved = directoryOf(own, 'saved-web', 'web');
  try {
    const first = await web.line(contextOf);
    const address = `127.0.0.1:${await server.line(portOf)}`;
    const dial = () => workload(scene, 'web').run<Dialed>('dial', address, idOf('db'));
    const before = await dial();
    await workload(scene, 'web').run('save', saved);
    const old = await own.active();
    let [next, roots] = ['', 0];
    await checks.check('a new authority: its root is in the bundle before it signs', async () => {
      await own.interlock('authority', 'rotate');
      const both = await web.line((line) => {
        const seen = contextOf(line);
        return seen !== undefined && rootsOf(seen) > rootsOf(first) ? seen : undefined;
      });
      roots = rootsOf(both);
      expectSame('who signed the SVID beside it', both.svids[0]?.authority, old);
      next = await until(async () => {
        const active = await own.active();
        return active === old ? undefined : active;
      });
      return `${roots} roots, the SVID still of the old one`;
    });
    await checks.check('taint: the watch gets an SVID of the new authority', async () => {
      await own.interlock('authority', 'taint', old, '--over', '1s');
      const svid = await renewed(web, next);
      expectSame('what go-spiffe finds wrong', svid.verified, '');
      expectThat(svid.serial !== first.svids[0]?.serial, 'the serial number is the same');
      return `authority ${next.slice(0, 10)} instead of ${old.slice(0, 10)}`;
    });
    await checks.check('taint: a server on go-spiffe that goes on shows its new SVID', async () => {
      const after = await until(async () => {
        const seen = await dial();
        return seen.serial === before.serial ? undefined : seen;
      });
      return `serial ${after.serial.slice(0, 10)} instead of ${before.serial.slice(0, 10)}`;
    });
    await checks.check('taint: nothing of the old authority is left', async () => {
      await until(async () => {
        const shown = (await own.authorities()).find(({ id }) => id === old);
        const left = Object.values(shown?.live ?? {}).reduce((sum, count) => sum + count, 0);
        return left === 0 ? true : undefined;
      });
      return '"authority show" counts 0';
    });
    await checks.check('revoked authority: its root leaves the bundles', async () => {
      const { mark } = web;
      await own.interlock('authority', 'revoke', old);
      await web.line((line) => {
        const seen = contextOf(line);
        return seen !== undefined && rootsOf(seen) === roots - 1 ? true : undefined;
      }, mark);
      return `${roots - 1} of ${roots} roots are left`;
    });
    await checks.check('revoked authority: an SVID of it is refused by go-spiffe', async () => {
      const { error } = await workload(scene, 'web').fail('dial', address, 'unchecked', saved);
      expectThat(error.includes('certificate'), error);
      expectSame('with the new one', (await dial()).answer, `hello ${idOf('web')}\n`);
      return error;
    });
  } finally {
    await Promise.all([web.stop(), server.stop()]);
  }
}

async function checkRestart(scene: Scene): Promise<void> {
  const { checks, own } = scene;
  const web = workload(scene, 'web').start('watch');
  try {
    const { svids } = await web.line(contextOf);
    await checks.check(
      'the agent is killed and starts again: the watch goes on with the same SVID',
      async () => {
        const { mark } = web;
        await own.agent.stop('SIGKILL');
        await web.line((line) => (codeOf(line) === 'Unavailable' ? true : undefined), mark);
        await own.startAgent();
        const again = await web.line(contextOf, mark, 'the SVID after the restart');
        expectSame('the serial number', again.svids[0]?.serial, svids[0]?.serial);
        return `serial ${svids[0]?.serial.slice(0, 10)} before and after`;
      },
    );
  } finally {
    await web.stop();
  }
}

async function checkRevocation(scene: Scene): Promise<void> {
  const { checks, own } = scene;
  const proxy = workload(scene, 'proxy').start('watch');
  try {
    await proxy.line(contextOf);
    const saved = directoryOf(own, 'saved-proxy', 'proxy');
    await workload(scene, 'proxy').run('save', saved);
    await checks.check('a revoked identity: its stream ends with PermissionDenied', async () => {
      const { mark } = proxy;
      await own.interlock('identity', 'revoke', idOf('proxy'), '--reason', 'keyCompromise');
      await proxy.line((line) => (codeOf(line) === 'PermissionDenied' ? true : undefined), mark);
      return 'PermissionDenied';
    });
    await checks.check(
      'a revoked identity: go-spiffe takes no CRL, and accepts its SVID until the end',
      async () => {
        const server = workload(scene, 'db').start('serve', idOf('proxy'));
        try {
          const address = `127.0.0.1:${await server.line(portOf)}`;
          const by = workload(scene, 'proxy');
          return (await by.run<Dialed>('dial', address, 'unchecked', saved)).answer;
        } finally {
          await server.stop();
        }
      },
    );
    await checks.check('allowed again: the watch gets a new SVID', async () => {
      const { mark } = proxy;
      await own.interlock('identity', 'allow', idOf('proxy'));
      await proxy.line(contextOf, mark, 'the SVID');
      return idOf('proxy');
    });
  } finally {
    await proxy.stop();
  }
}

interface Brief {
  readonly dir: string;
  readonly notAfter: number;
  readonly watch: Child;
  readonly first: ContextSeen;
}

async function saveBrief(scene: Scene): Promise<Brief> {
  const dir = directoryOf(scene.own, 'saved-brief', 'brief');
  const watch = workload(scene, 'brief').start('watch');
  const first = await watch.line(contextOf);
  const { notAfter } = await workload(scene, 'brief').run<SvidSeen>('save', dir);
  return { dir, notAfter, watch, first };
}

async function checkRenewal(scene: Scene, { dir, notAfter, watch, first }: Brief): Promise<void> {
  const { checks } = scene;
  const server = workload(scene, 'db').start('serve', 'any');
  try {
    const address = `127.0.0.1:${await server.line(portOf)}`;
    await checks.check('an SVID of one minute is renewed in the stream before it ends', async () => {
      const serial = first.svids[0]?.serial;
      const next = await watch.line((line) => {
        const svid = contextOf(line)?.svids[0];
        return svid !== undefined && svid.serial !== serial ? svid : undefined;
      });
      expectThat(next.notAfter > notAfter, 'the new one does not live longer');
      return `serial ${next.serial.slice(0, 10)} after ${serial?.slice(0, 10)}`;
    });
    await checks.check('an expired SVID is refused by go-spiffe', async () => {
      await pause(Math.max(0, notAfter - Date.now()) + 1500);
      const { error } = await workload(scene, 'brief').fail('dial', address, 'unchecked', dir);
      expectThat(error.includes('certificate'), error);
      await fetched(workload(scene, 'brief'));
      return error;
    });
  } finally {
    await Promise.all([watch.stop(), server.stop()]);
  }
}

function rootsOf({ bundles }: ContextSeen): number {
  return bundles[OWN] ?? 0;
}

function renewed(watch: Child, authority: string): Promise<SvidSeen> {
  return watch.line((line) => {
    const svid = contextOf(line)?.svids[0];
    return svid?.authority === authority ? svid : undefined;
  });
}

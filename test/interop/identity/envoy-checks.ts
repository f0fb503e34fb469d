import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { setTimeout as pause } from 'node:timers/promises';
import type { Certificate } from '../certificates.ts';
import { expectSame, expectThat } from './checks.ts';
import { until } from './children.ts';
import type { Dialed } from './client.ts';
import { type ListenerName, PEER_HEADER, type Ports } from './envoy-secrets.ts';
import { directoryOf, idOf, type Scene, type User, workload } from './scene.ts';

/** A running Envoy with secrets of the agent. */
export interface Proxy {
  readonly scene: Scene;
  readonly ports: Ports;
  /** Address of its administration interface. */
  readonly admin: string;
  /** A certificate for the ID of web by an authority that nobody trusts. */
  readonly forged: Certificate;
}

/** Whom Envoy accepts as a server, with trust and certificate by SDS. */
export async function checkServer(proxy: Proxy): Promise<void> {
  const { checks } = proxy.scene;
  await checks.check('state of the world: certificate by SPIFFE ID, trust ALL', async () => {
    return shown(await dial(proxy, 'web', 'whole'));
  });
  await checks.check('delta: certificate "default", trust ROOTCA, one SPIFFE ID allowed', async () => {
    return shown(await dial(proxy, 'web', 'delta'));
  });
  await checks.check('delta: certificate by SPIFFE ID, trust by the ID of the trust domain', async () => {
    return shown(await dial(proxy, 'db', 'named'));
  });
  await checks.check('another SPIFFE ID than the one allowed is refused', async () => {
    return refused(proxy, 'db', 'delta');
  });
  await checks.check('a federated domain is accepted under ALL', async () => {
    return shown(await dial(proxy, 'peer', 'whole'));
  });
  await checks.check('a federated domain is refused under ROOTCA, and under the own domain', async () => {
    await refused(proxy, 'peer', 'delta');
    return refused(proxy, 'peer', 'named');
  });
  for (const name of ['whole', 'named'] as const) {
    await checks.check(`no certificate is refused (${name})`, async () => {
      return refused(proxy, 'web', name, 'none');
    });
    await checks.check(
      `a certificate of an unknown authority with the ID of web is refused (${name})`,
      async () => {
        const answer = await refusalFor(proxy.ports[name], proxy.forged);
        expectThat(answer.includes('alert'), answer);
        return answer;
      },
    );
  }
  await checks.check('a certificate of another workload is not handed out', async () => {
    await workload(proxy.scene, 'web').fail('dial', at(proxy, 'stolen'), 'unchecked');
    const words = 'workload is not authorized for the requested identities';
    await proxy.scene.own.agent.line((line) => (line.includes(words) ? true : undefined));
    return `the agent says: ${words}`;
  });
}

/** Envoy as a client of a server on go-spiffe, which tells who it greets. */
export async function checkClient(proxy: Proxy): Promise<void> {
  const { checks } = proxy.scene;
  for (const [name, how] of [
    ['toDb', 'state of the world'],
    ['toDbDelta', 'delta'],
  ] as const) {
    await checks.check(`connects to a server on go-spiffe, each verifying the other (${how})`, async () => {
      const line = await plain(proxy.ports[name]);
      expectSame('the greeting', line, `hello ${idOf('proxy')}`);
      return line;
    });
  }
  await checks.check('does not go on with a server of another SPIFFE ID', async () => {
    expectSame('what comes', await plain(proxy.ports.toWeb), '');
    const count = await counter(proxy, 'cluster.toWeb.ssl.fail_verify_san');
    expectThat(count > 0, 'Envoy counts no failed verification of a name');
    return `${count} failed verification of the name`;
  });
}

/** What reaches a running Envoy: nothing of it is started again. */
export async function checkChange(proxy: Proxy): Promise<void> {
  const { checks, own } = proxy.scene;
  const saved = directoryOf(own, 'saved-web', 'web');
  await workload(proxy.scene, 'web').run('save', saved);
  const names = ['whole', 'delta', 'named'] as const;
  const serials = () => Promise.all(names.map(async (name) => (await dial(proxy, 'web', name)).serial));
  const before = await serials();

  await checks.check('goes on with what it has while the agent is down', async () => {
    await own.agent.stop('SIGKILL');
    try {
      expectSame('the serial number', (await dial(proxy, 'web', 'whole', saved)).serial, before[0]);
    } finally {
      await own.startAgent();
    }
    return `serial ${before[0]?.slice(0, 10)}`;
  });
  const old = await own.active();
  await checks.check('taint: every listener gets the new certificate', async () => {
    await own.interlock('authority', 'rotate');
    await until(async () => ((await own.active()) === old ? undefined : true));
    await own.interlock('authority', 'taint', old, '--over', '1s');
    const after = await until(async () => {
      const now = await serials();
      return now.every((serial, index) => serial !== before[index]) ? now : undefined;
    });
    return `serial ${after[0]?.slice(0, 10)} instead of ${before[0]?.slice(0, 10)}`;
  });
  await checks.check('taint: what the old authority has signed is accepted until it is revoked', async () => {
    return shown(await dial(proxy, 'web', 'whole', saved));
  });
  await checks.check('revoked authority: what it has signed is refused', async () => {
    // The agent may still be replacing its own SVID.
    await own.interlock('authority', 'revoke', old, '--force');
    const error = await until(() => refused(proxy, 'web', 'whole', saved).catch(() => undefined));
    await serials();
    return error;
  });
  await checks.check('a client connection uses the new certificate, too', async () => {
    const lines = await Promise.all([plain(proxy.ports.toDb), plain(proxy.ports.toDbDelta)]);
    const greeting = `hello ${idOf('proxy')}`;
    expectSame('the greetings', lines, [greeting, greeting]);
    return greeting;
  });
}

/** An SVID that was good for a minute. */
export async function checkExpired(proxy: Proxy, dir: string, notAfter: number): Promise<void> {
  await proxy.scene.checks.check('an expired SVID is refused', async () => {
    await pause(Math.max(0, notAfter - Date.now()) + 1500);
    return refused(proxy, 'brief', 'whole', dir);
  });
}

/** What the revocation of one identity, not of an authority, does to an Envoy. */
export async function checkRevoked(proxy: Proxy): Promise<void> {
  const { checks, own } = proxy.scene;
  const saved = directoryOf(own, 'revoked-web', 'web');
  await workload(proxy.scene, 'web').run('save', saved);
  const { serial } = await dial(proxy, 'web', 'whole');
  await own.interlock('identity', 'revoke', idOf('web'));
  await own.interlock('identity', 'revoke', idOf('proxy'));
  try {
    await checks.check(
      'as a verifier: takes no CRL with its SPIFFE validator, and accepts until the end',
      async () => {
        return `a revoked certificate: ${shown(await dial(proxy, 'web', 'whole', saved))}`;
      },
    );
    await checks.check(
      'as the revoked one: gets nothing new, and shows what it has until the end',
      async () => {
        const seen = await dial(proxy, 'web', 'whole', saved);
        expectSame('the serial number', seen.serial, serial);
        return `serial ${serial.slice(0, 10)}`;
      },
    );
  } finally {
    await own.interlock('identity', 'allow', idOf('web'));
    await own.interlock('identity', 'allow', idOf('proxy'));
  }
  await checks.check('allowed again: Envoy asks again by itself and gets a new certificate', async () => {
    const seen = await until(async () => {
      const now = await dial(proxy, 'web', 'whole');
      return now.serial === serial ? undefined : now;
    });
    return `serial ${seen.serial.slice(0, 10)} instead of ${serial.slice(0, 10)}`;
  });
}

/** What Envoy itself counts. */
export async function checkCounters({ scene, admin }: Proxy): Promise<void> {
  await scene.checks.check('Envoy rejected nothing that it was sent', async () => {
    const text = await (await fetch(`${admin}/stats?filter=update_(rejected|success)`)).text();
    const sum = (what: string) =>
      [...text.matchAll(new RegExp(`sds.*${what}: (\\d+)`, 'g'))].reduce((all, [, n]) => all + Number(n), 0);
    expectSame('updates rejected', sum('update_rejected'), 0);
    expectThat(sum('update_success') > 0, `no update is counted: ${text.slice(0, 300)}`);
    return `${sum('update_success')} updates of secrets, 0 rejected`;
  });
}

/** One request, after whose answer Envoy ends the connection. */
const REQUEST = 'GET / HTTP/1.1\r\nHost: interop.test\r\nConnection: close\r\n\r\n';

async function counter({ admin }: Proxy, name: string): Promise<number> {
  const text = await (await fetch(`${admin}/stats?filter=^${name}$`)).text();
  return Number(/: (\d+)$/m.exec(text)?.[1] ?? 0);
}

function at({ ports }: Proxy, name: ListenerName): string {
  return `127.0.0.1:${ports[name]}`;
}

/** With a directory of saved files, only Envoy's part is looked at: their bundle may be as old as they are. */
async function dial(proxy: Proxy, user: User, name: ListenerName, own = 'own'): Promise<Dialed> {
  const expected = own === 'own' ? idOf('proxy') : 'unchecked';
  const by = workload(proxy.scene, user);
  const seen = await by.run<Dialed>('dial', at(proxy, name), expected, own, REQUEST);
  const peer = new RegExp(`^${PEER_HEADER}: (.*)$`, 'm').exec(seen.answer)?.[1]?.trim();
  expectSame('the ID that Envoy saw', peer, idOf(user));
  return seen;
}

async function refused(proxy: Proxy, user: User, name: ListenerName, own = 'own'): Promise<string> {
  const by = workload(proxy.scene, user);
  // Nothing is sent: what waits unread at the other end could swallow the alert. Who accepts runs into the time limit.
  const { error } = await by.fail('dial', at(proxy, name), 'unchecked', own);
  expectThat(error.includes('remote error: tls'), error);
  return error;
}

function shown({ peer, group }: Dialed): string {
  return `${peer}, ${group}`;
}

/** Why a server refuses who shows a certificate; nothing comes of being accepted. */
function refusalFor(port: number, { cert, key }: Certificate): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectTls({ host: '127.0.0.1', port, cert, key, rejectUnauthorized: false });
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer in 10 s')));
    socket.once('error', ({ message }) => resolve(/alert [a-z ]+/.exec(message)?.[0] ?? message));
    socket.once('close', () => resolve('closed'));
  });
}

/** What comes over a plain connection until it ends. */
function plain(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(port, '127.0.0.1');
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer in 10 s')));
    socket.on('data', (data: Buffer) => (text += data.toString()));
    socket.once('error', (error) =>
      'code' in error && error.code === 'ECONNRESET' ? resolve('') : reject(error),
    );
    socket.once('close', () => resolve(text.trim()));
  });
}

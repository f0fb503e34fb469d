import { setTimeout as pause } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { listener } from '../../../src/proto/envoy/index.ts';
import type { X509Svid } from '../../../src/workload/index.ts';
import { expectSame, expectThat } from '../identity/checks.ts';
import { enforcedIn, targetIn } from './access-logs.ts';
import type { Bench } from './authentication-checks.ts';
import { Connection, once } from './connection.ts';
import { GREETING } from './scene.ts';
import { messagesOf } from './xds.ts';

/** A quiet time after which nothing more is expected. */
const QUIET_MS = 500;

/** What policies do, and what changes of them do to connections that are open. */
export async function checkEnforcement({ checks, scene, logs }: Bench): Promise<void> {
  const { http, proxied, tcp } = scene.ports;
  const [web, db] = [scene.svid('web'), scene.svid('db')];

  await scene.apply({ enforced: false, version: 'shadow' });
  const open = await Connection.open(http, db);
  await checks.check('shadow: served, and the access log says what a promotion would do', async () => {
    expectSame('the status', (await open.request('/a')).status, 200);
    const entry = await logs.find(
      (one) => one.common.routeName === 'shadow' && targetIn(one)?.allowed === false,
    );
    expectSame('what the enforced set said', enforcedIn(entry), undefined);
    const peer = entry.common.tlsProperties?.peerCertificateProperties?.subjectAltName[0]?.san.value;
    return `${peer}: ${JSON.stringify(targetIn(entry))}`;
  });
  await checks.check('enforced: bites on connections that are open, and closes none', async () => {
    const ms = await scene.apply({ version: 'enforced' });
    const { status, body } = await open.request('/a');
    expectSame('the status', status, 403);
    expectThat(!body.includes('app/'), `the caller is told ${body}`);
    return `403 "${body}" on the same connection; confirmed in ${Math.round(ms)} ms`;
  });
  await checks.check('released: the same connection is served again', async () => {
    const ms = await scene.apply({ enforced: false });
    expectSame('the status', (await open.request('/a')).status, 200);
    open.close();
    return `confirmed in ${Math.round(ms)} ms`;
  });

  await scene.apply({ version: 'rules' });
  await checks.check('rules decide by caller, path and deny', async () => {
    const answers = await Promise.all([
      once(http, web, '/a'),
      once(http, web, '/no/1'),
      once(http, db, '/a'),
      once(http, db, '/by-port'),
    ]);
    expectSame(
      'the statuses',
      answers.map(({ status }) => status),
      [200, 403, 403, 200],
    );
    return 'web /a 200, web /no/1 403, db /a 403; a condition on the port of the policy holds behind another port';
  });
  await checks.check('no header decides about addresses', async () => {
    const headers = {
      'x-forwarded-for': '203.0.113.9',
      'x-real-ip': '203.0.113.9',
      forwarded: 'for=203.0.113.9',
      'x-envoy-external-address': '203.0.113.9',
    };
    const { status } = await once(http, db, '/by-address', headers);
    expectSame('the status', status, 403);
    return '403 for source.address.startsWith("203.0.113.") with X-Forwarded-For: 203.0.113.9';
  });
  await scene.apply({ authentication: 'permissive', version: 'permissive' });
  await checks.check(
    'permissive and enforced: callers in plain text are judged by their address',
    async () => {
      const from = async (localAddress: string) => {
        const connection = await Connection.open(http, 'plain', { localAddress });
        const { status } = await connection.request('/health');
        connection.close();
        return status;
      };
      expectSame('the statuses', [await from('127.9.1.1'), await from('127.8.1.1')], [200, 403]);
      return '127.9.1.1 is served, 127.8.1.1 is denied';
    },
  );
  await checks.check(
    'a PROXY header is believed from trusted addresses, and nobody else gets in',
    async () => {
      const ask = async (localAddress: string, header: string) => {
        const connection = await Connection.open(proxied, 'plain', { localAddress });
        const { status } = await connection.ask(`${header}GET /a HTTP/1.1\r\nhost: app\r\n\r\n`);
        connection.close();
        return status;
      };
      const stated = (address: string) => `PROXY TCP4 ${address} 10.0.0.1 5000 8081\r\n`;
      const seen = [
        await ask('127.5.1.1', stated('10.20.1.1')),
        await ask('127.5.1.1', stated('10.30.1.1')),
        await ask('127.6.1.1', stated('10.20.1.1')),
        await ask('127.5.1.1', ''),
      ];
      expectSame('the statuses', seen, [200, 403, 0, 0]);
      return 'trusted 10.20.1.1: 200, trusted 10.30.1.1: 403, untrusted: closed, no header: closed';
    },
  );

  await scene.apply({ version: 'tcp' });
  await checks.check('TCP: who is allowed is served, who is not is closed at the first bytes', async () => {
    const ask = async (as: typeof web) => {
      const connection = await Connection.open(tcp, as);
      connection.socket.write('bytes');
      const text = await connection.until((now) => now.includes('bytes'));
      connection.close();
      return text.replace(GREETING, '');
    };
    expectSame('what comes back', [await ask(web), await ask(db)], ['bytes', '']);
    const entry = await logs.find(
      (one) => one.about.kind === 'connections' && enforcedIn(one)?.allowed === false,
    );
    return `web is echoed; db: ${entry.common.connectionTerminationDetails}`;
  });
  await checks.check('TCP: a program is not connected to before the caller is judged', async () => {
    const text = await saidTo(tcp, db);
    expectSame('what comes unasked', [text, await saidTo(tcp, web)], ['', '']);
    return 'nothing comes unasked, to anybody';
  });
  await checks.check(
    'TCP: a program that speaks first has to be declared as one, and then is heard by all',
    async () => {
      const said = [await saidTo(scene.ports.first, web), await saidTo(scene.ports.first, db)];
      expectSame('what comes unasked', said, [GREETING, GREETING]);
      return 'the loss that the rendering told (wider, server-first)';
    },
  );
  await checks.check('TCP: a connection stays open while the policy changes', async () => {
    const connection = await Connection.open(tcp, web);
    connection.socket.write('before');
    await connection.until((now) => now.includes('before'));
    await scene.apply({ version: 'tcp-2' });
    connection.socket.write('after');
    const text = await connection.until((now) => now.includes('after'));
    connection.close();
    expectThat(text.endsWith('after'), text);
    return 'bytes go on; Envoy ends it after its own drain time (--drain-time-s)';
  });
}

/** What comes on a connection that sends nothing. */
async function saidTo(port: number, as: X509Svid): Promise<string> {
  const connection = await Connection.open(port, as);
  const text = await Promise.race([connection.until((now) => now !== ''), pause(QUIET_MS).then(() => '')]);
  connection.close();
  return text;
}

/** What a proxy refuses, and what it keeps. */
export async function checkRefusals({ checks, scene }: Bench): Promise<void> {
  const { http } = scene.ports;
  await scene.apply({ version: 'good' });
  await checks.check(
    'a broken resource is refused with its reason; the last good one serves on',
    async () => {
      const open = await Connection.open(http, scene.svid('web'));
      const good = messagesOf(scene.rendered({ version: 'good' }));
      const broken = create(listener.ListenerSchema, {
        name: `inbound/127.0.0.1:${http}`,
        filterChains: [{}],
      });
      const rest = good.filter(
        (message) =>
          !('name' in message && message.name === broken.name && message.$typeName === broken.$typeName),
      );
      scene.xds.set([...rest, broken]);
      const { perType } = await scene.xds.status(({ state }) => state === 'refused');
      expectSame('on the open connection', (await open.request('/a')).status, 200);
      expectSame('on a new one', (await once(http, scene.svid('web'), '/a')).status, 200);
      open.close();
      return (perType.get('lds')?.refused?.message ?? 'no words').slice(0, 160);
    },
  );
  await checks.check('the next good one is taken', async () => {
    const ms = await scene.apply({ version: 'mended' });
    expectSame('the status', (await once(http, scene.svid('web'), '/a')).status, 200);
    return `confirmed in ${Math.round(ms)} ms`;
  });
}

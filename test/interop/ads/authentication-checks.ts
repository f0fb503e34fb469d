import { connect as connectHttp2 } from 'node:http2';
import type { X509Svid } from '../../../src/workload/index.ts';
import { type Checks, expectSame, expectThat } from '../identity/checks.ts';
import type { AccessLogs } from './access-logs.ts';
import { type As, Connection, once } from './connection.ts';
import { id, type Scene } from './scene.ts';

/** What the checks work with. */
export interface Bench {
  readonly checks: Checks;
  readonly scene: Scene;
  readonly logs: AccessLogs;
  /** A certificate for web by an authority that nobody trusts. */
  readonly forged: X509Svid;
}

/** Who gets in at each stage of authentication. Nothing is enforced. */
export async function checkAuthentication({ checks, scene, logs, forged }: Bench): Promise<void> {
  const { http } = scene.ports;
  const web = scene.svid('web');
  const seen = async (as: As) => (await once(http, as)).status;

  await scene.apply({ authentication: 'strict', enforced: false });
  await checks.check(
    'strict: mutual TLS is served; the program learns who calls, whatever the caller writes',
    async () => {
      const connection = await Connection.open(http, web, { alpn: ['http/1.1'] });
      const spoofed = `By=spiffe://x;URI=${id('admin')}`;
      const { status, body } = await connection.request('/a', { 'x-forwarded-client-cert': spoofed });
      expectSame('the status', status, 200);
      // What the program writes.
      const { headers } = JSON.parse(body) as { headers: Record<string, string> };
      const told = headers['x-forwarded-client-cert'] ?? '';
      expectThat(told.includes(`URI=${id('web')}`) && !told.includes(id('admin')), told);
      connection.close();
      return told.replace(/Hash=[^;]*;?/, '');
    },
  );
  await checks.check('strict: no session is offered for resumption', async () => {
    const connection = await Connection.open(http, web);
    await connection.request('/a');
    await connection.request('/b');
    expectSame('sessions', connection.sessions, 0);
    connection.close();
    return 'none in two requests';
  });
  for (const [what, as] of [
    ['plain text', 'plain'],
    ['TLS without a certificate', 'nobody'],
    ['a certificate of an unknown authority with the ID of web', forged],
  ] as const) {
    await checks.check(`strict: ${what} is refused, and told with the reason`, async () => {
      const before = logs.entries.length;
      expectSame('the status', await seen(as), 0);
      const { common } = await logs.find(
        ({ about, common: { downstreamTransportFailureReason: why } }) =>
          about.kind === 'accepted' && why !== '',
        before,
      );
      return common.downstreamTransportFailureReason;
    });
  }

  await scene.apply({ authentication: 'permissive', enforced: false });
  await checks.check('permissive: both on one port; who comes in plain text is told as such', async () => {
    const before = logs.entries.length;
    expectSame('with mutual TLS', await seen(web), 200);
    expectSame('in plain text', await seen('plain'), 200);
    expectSame('TLS without a certificate', await seen('nobody'), 0);
    const plain = await logs.find(
      ({ about, common }) => about.kind === 'requests' && common.tlsProperties === undefined,
      before,
    );
    const address = plain.common.downstreamDirectRemoteAddress?.address;
    return `plain text from ${address?.case === 'socketAddress' ? address.value.address : 'nowhere'}`;
  });
  await checks.check('permissive: who waits for the server to speak is served in plain text', async () => {
    const start = performance.now();
    const connection = await Connection.open(scene.ports.tcp, 'plain');
    const text = await connection.until((now) => now.endsWith('\n'));
    connection.close();
    expectThat(text.length > 0, 'nothing came');
    return `${text.trim()}, after ${Math.round(performance.now() - start)} ms`;
  });

  await scene.apply({ authentication: 'plaintext', enforced: false });
  await checks.check('plaintext: plain text is served, TLS is not', async () => {
    expectSame('in plain text', await seen('plain'), 200);
    expectSame('with mutual TLS', await seen(web), 0);
    return '200, and no handshake';
  });
  await scene.apply({ authentication: 'strict', enforced: false });
}

/** What programs speak arrives as it was sent. */
export async function checkProtocols({ checks, scene }: Bench): Promise<void> {
  const { http, grpc, out, wrong, outTcp } = scene.ports;
  const web = scene.svid('web');
  await checks.check('HTTP/2 of a caller reaches a program of HTTP/1.1', async () => {
    const connection = await Connection.open(http, web, { alpn: ['h2'] });
    const session = connectHttp2('http://app', { createConnection: () => connection.tls });
    const stream = session.request({ ':path': '/x' });
    let body = '';
    for await (const chunk of stream) body += String(chunk);
    session.destroy();
    // What the program writes.
    const { httpVersion } = JSON.parse(body) as { httpVersion: string };
    expectSame('the version that the program saw', httpVersion, '1.1');
    return `${connection.tls.alpnProtocol} outside, HTTP/${httpVersion} inside`;
  });
  await checks.check('gRPC reaches a program that speaks only HTTP/2', async () => {
    const connection = await Connection.open(grpc, web, { alpn: ['h2'] });
    const session = connectHttp2('http://app', { createConnection: () => connection.tls });
    const headers = {
      ':method': 'POST',
      ':path': '/shop.Cart/Get',
      'content-type': 'application/grpc',
      te: 'trailers',
    };
    const stream = session.request(headers).end();
    let body = '';
    for await (const chunk of stream) body += String(chunk);
    session.destroy();
    expectSame('the answer', body, '/shop.Cart/Get');
    return body;
  });
  await checks.check('a WebSocket stays open, in both directions', async () => {
    const connection = await Connection.open(http, web);
    const upgrade = 'GET /ws HTTP/1.1\r\nhost: app\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n';
    const { status } = await connection.ask(upgrade);
    expectSame('the status', status, 101);
    connection.socket.write('frames');
    const text = await connection.until((now) => now.includes('frames'));
    connection.close();
    return text;
  });
  await checks.check('HTTP/1.0 is served', async () => {
    const connection = await Connection.open(http, web);
    const { status } = await connection.ask('GET /a HTTP/1.0\r\nhost: app\r\n\r\n');
    connection.close();
    expectSame('the status', status, 200);
    return '200';
  });
  await checks.check(
    'out: plain text on loopback becomes mutual TLS with the peer that is expected',
    async () => {
      const { status, body } = await once(out, 'plain', '/out');
      expectSame('the status', status, 200);
      expectThat(body.includes(`URI=${id('app')}`), body);
      return `200, as ${id('app')}`;
    },
  );
  await checks.check('out: another peer than the expected one is refused', async () => {
    const { status } = await once(wrong, 'plain', '/out');
    expectSame('the status', status, 503);
    return '503';
  });
  await checks.check('out: TCP, to a name', async () => {
    const connection = await Connection.open(outTcp, 'plain');
    connection.socket.write('echo');
    const text = await connection.until((now) => now.includes('echo'));
    connection.close();
    expectThat(text.endsWith('echo'), text);
    return JSON.stringify(text);
  });
  await checks.check(
    'requests that two programs could read in two ways are refused, or made one',
    async () => {
      const bodies = [
        'POST /a HTTP/1.1\r\nhost: app\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
        'POST /a HTTP/1.1\r\nhost: app\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde',
        'POST /a HTTP/1.1\r\nhost: app\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n',
        'GET /a HTTP/1.1\r\nhost: app\r\nx: a\r\n b\r\n\r\n',
        'GET /a HTTP/1.1\r\nhost: app\r\nhost: other\r\n\r\n',
        'GET /a HTTP/1.1\r\nhost : app\r\n\r\n',
        `GET /a HTTP/1.1\r\nhost: app\r\nx: ${'a'.repeat(1 << 20)}\r\n\r\n`,
      ];
      const seen: string[] = [];
      for (const bytes of bodies) {
        const connection = await Connection.open(http, web);
        const { status, body } = await connection.ask(bytes);
        // What the program writes.
        const { headers } =
          status === 200 ? (JSON.parse(body) as { headers: Record<string, string> }) : { headers: {} };
        seen.push(
          status === 200
            ? `200 (${JSON.stringify({ host: headers['host'], x: headers['x'] })})`
            : String(status),
        );
        connection.close();
      }
      return `${seen.join(', ')} of CL+TE, CL+CL, unknown TE, obs-fold, two hosts, a space before a colon, 1 MB`;
    },
  );
}

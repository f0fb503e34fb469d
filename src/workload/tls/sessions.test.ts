import { connect as connectTls, createServer } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { certificateToPem, parseCrl } from '../../identity/index.ts';
import { TestAuthority, TestView } from '../testing.ts';
import { contextOptions } from './context.ts';
import { closeAll, read, serve } from './tls.test-helper.ts';

const root = new TestAuthority('example.org');
const bundles = [root.bundle()];
const view = (path: string) => new TestView(root.svid(path), bundles);

afterEach(closeAll);

describe('sessions', () => {
  it.each(['TLSv1.3', 'TLSv1.2'] as const)(
    'of %s are never resumed: revocation meets every connection',
    async (version) => {
      const web = root.svid('/web');
      const source = view('/db');
      const { port } = await serve(source);
      const options = {
        port,
        host: '127.0.0.1',
        ...contextOptions(web),
        secureOptions: 0,
        rejectUnauthorized: false,
        maxVersion: version,
      };
      const sessions: Buffer[] = [];
      const first = connectTls(options);
      first.on('session', (session: Buffer) => sessions.push(session));
      expect(await read(first)).toContain('hello');
      first.destroy();
      for (const session of sessions) {
        const again = connectTls({ ...options, session });
        expect(await read(again)).toContain('hello');
        expect(again.isSessionReused()).toBe(false);
        again.destroy();
      }
      source.set({ crls: [parseCrl(root.crl(web))] });
      for (const session of [...sessions, undefined]) {
        const again = connectTls({ ...options, session });
        again.on('error', () => {});
        expect(await read(again)).toBe('');
      }
    },
  );

  it('would be resumed by a server of Node without these options', async () => {
    // What the test above guards against does happen: else it could not fail.
    const { svid } = view('/db').state;
    const server = createServer({
      cert: svid.chain.map(({ der }) => certificateToPem(der)).join(''),
      key: svid.key.export({ type: 'pkcs8', format: 'pem' }),
    });
    server.on('secureConnection', (socket) => void socket.end('hello'));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as { port: number };
    const options = { port, host: '127.0.0.1', rejectUnauthorized: false };
    let session: Buffer | undefined;
    const first = connectTls(options);
    first.on('session', (bytes: Buffer) => (session = bytes));
    await read(first);
    const again = connectTls({ ...options, session });
    await read(again);
    expect(again.isSessionReused()).toBe(true);
    server.close();
  });
});

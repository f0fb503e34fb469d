import { connect as connectTcp } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { parseCrl } from '../../identity/index.ts';
import { TestAuthority, TestClock, TestView } from '../testing.ts';
import { authorizeAny, authorizeId, authorizeMemberOf, authorizeWhere } from './authorize.ts';
import { contextOptions } from './context.ts';
import { peerOf } from './peer.ts';
import { closeAll, dial, read, serve, until } from './tls.test-helper.ts';

const HOUR = 3_600_000;
const root = new TestAuthority('example.org');
const other = new TestAuthority('other.example');
const bundles = [root.bundle()];
const view = (path: string, trusted = bundles) => new TestView(root.svid(path), trusted);

afterEach(closeAll);

describe('mutual TLS', () => {
  it('connects two identities, each with the whole chain of the other', async () => {
    const area = root.child(['/area/']);
    const { port, received } = await serve(new TestView(area.svid('/area/db'), bundles), {
      authorize: authorizeId('spiffe://example.org/area/web'),
    });
    const source = new TestView(area.svid('/area/web'), bundles);
    const { socket, peer, group } = await dial(port, source, {
      authorize: authorizeId('spiffe://example.org/area/db'),
    });
    expect(await read(socket)).toBe('hello spiffe://example.org/area/web\n');
    expect(peer.spiffeId).toBe('spiffe://example.org/area/db');
    expect(peer.chain.map(({ isAuthority }) => isAuthority)).toEqual([false, true]);
    expect(peerOf(socket)).toBe(peer);
    expect(socket.authorized).toBe(true);
    expect(socket.getProtocol()).toBe('TLSv1.3');
    expect(group).toBe('X25519MLKEM768');
    socket.write('question');
    await until(() => received.length > 0);
    expect(received).toEqual(['question']);
  });

  it.each(['ec-p384', 'ed25519', 'ml-dsa-65'] as const)('works with keys of %s', async (algorithm) => {
    const authority = new TestAuthority('example.org', { algorithm });
    const trusted = [authority.bundle()];
    const { port } = await serve(new TestView(authority.svid('/db'), trusted));
    const { socket } = await dial(port, new TestView(authority.svid('/web'), trusted));
    expect(await read(socket)).toContain('/web');
  });

  it('takes a federated domain by its own bundle', async () => {
    const trusted = [root.bundle(), other.bundle()];
    const { port } = await serve(view('/db', trusted), { authorize: authorizeMemberOf('other.example') });
    const { socket } = await dial(port, new TestView(other.svid('/web'), trusted));
    expect(await read(socket)).toBe('hello spiffe://other.example/web\n');
  });

  const untrusted = new TestAuthority('example.org');
  const refusedPeers: [string, () => TestView, object][] = [
    ['of another ID', () => view('/stranger'), { code: 'forbidden' }],
    [
      'that has expired',
      () =>
        new TestView(
          root.svid('/web', { notBefore: Date.now() - 2 * HOUR, notAfter: Date.now() - HOUR }),
          bundles,
        ),
      { code: 'untrusted', fault: 'expired' },
    ],
    [
      'that is not valid yet',
      () =>
        new TestView(
          root.svid('/web', { notBefore: Date.now() + HOUR, notAfter: Date.now() + 2 * HOUR }),
          bundles,
        ),
      { fault: 'not_yet_valid' },
    ],
    ['of an unknown domain', () => new TestView(other.svid('/web'), bundles), { fault: 'no_bundle' }],
    ['of an unknown authority', () => new TestView(untrusted.svid('/web'), bundles), { code: 'untrusted' }],
    [
      "outside its authority's area",
      // The leaf of another area, under an intermediate that may not speak for it.
      () => {
        const area = root.child(['/area/']);
        const leaf = new TestAuthority('example.org', { parent: root }).svid('/web');
        return new TestView({ ...leaf, chain: [leaf.chain[0] as never, area.certificate] }, bundles);
      },
      { code: 'untrusted' },
    ],
  ];

  it.each(refusedPeers)(
    'a server turns away a client %s before its program hears of it',
    async (_what, make, error) => {
      const { port, refusals, received, server } = await serve(view('/db'), {
        authorize: authorizeId('spiffe://example.org/web'),
      });
      const source = make();
      // By hand, since our own client would not even start with an expired SVID.
      const socket = connectTls({
        port,
        host: '127.0.0.1',
        ...contextOptions(source.state.svid),
        rejectUnauthorized: false,
      });
      socket.on('error', () => {});
      socket.write('attack at dawn');
      await until(() => refusals.length > 0);
      expect(refusals[0]?.error).toMatchObject(error);
      expect(refusals[0]?.from).toMatch(/^127\.0\.0\.1:\d+$/);
      expect(await read(socket)).toBe('');
      expect(received).toEqual([]);
      expect(server.size).toBe(0);
    },
  );

  it.each(refusedPeers)(
    'a client turns away a server %s before it sent a byte',
    async (_what, make, error) => {
      // The server takes anyone; what it would receive tells whether the client leaked.
      const received: string[] = [];
      const { port } = await serve(make(), {
        onConnection: (s: TLSSocket) => void s.on('data', (b) => received.push(String(b))),
      });
      const dialled = dial(port, view('/web'), { authorize: authorizeId('spiffe://example.org/web') });
      await expect(dialled).rejects.toMatchObject(error);
      expect(received).toEqual([]);
    },
  );

  it('a server turns away a client without a certificate', async () => {
    const { port, refusals } = await serve(view('/db'));
    const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
    socket.on('error', () => {});
    expect(await read(socket)).toBe('');
    expect(refusals[0]?.error.message).toBe('the peer sent no certificate');
  });

  it('a promise of a yes lets nobody in', async () => {
    // As a program in JavaScript would write it by mistake.
    const authorize = authorizeWhere('nobody', (async () => true) as never);
    const { port, refusals } = await serve(view('/db'), { authorize });
    const { socket } = await dial(port, view('/web'));
    expect(await read(socket)).toBe('');
    expect(refusals[0]?.error).toMatchObject({ code: 'forbidden' });
  });

  it('refuses an ID that is revoked as such, and one on a list', async () => {
    const web = root.svid('/web');
    const source = view('/db');
    let revoked: ReadonlySet<never> = new Set<never>([web.spiffeId as never]);
    const { port, refusals } = await serve(source, { revokedIds: () => revoked });
    expect(await read((await dial(port, new TestView(web, bundles))).socket)).toBe('');
    revoked = new Set();
    expect(await read((await dial(port, new TestView(web, bundles))).socket)).toContain('hello');
    source.set({ crls: [parseCrl(root.crl(web))] });
    expect(await read((await dial(port, new TestView(web, bundles))).socket)).toBe('');
    expect(refusals.map(({ error }) => error)).toEqual(
      Array.from({ length: 3 }, () => expect.objectContaining({ fault: 'revoked' })),
    );
  });

  it('does not speak TLS 1.1, and prefers nothing below 1.3', async () => {
    const { port, refusals } = await serve(view('/db'));
    const { svid } = view('/web').state;
    const old = connectTls({
      port,
      host: '127.0.0.1',
      ...contextOptions(svid),
      rejectUnauthorized: false,
      minVersion: 'TLSv1.1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    });
    old.on('error', () => {});
    expect(await read(old)).toBe('');
    await until(() => refusals.length === 1);
    expect(refusals[0]?.error.message).toMatch(/unsupported protocol|no protocols/);
    const middle = connectTls({
      port,
      host: '127.0.0.1',
      ...contextOptions(svid),
      rejectUnauthorized: false,
      maxVersion: 'TLSv1.2',
    });
    expect(await read(middle)).toContain('hello');
    expect(middle.getProtocol()).toBe('TLSv1.2');
    middle.destroy();
  });

  it('gives up on a peer that never answers', async () => {
    const { createServer } = await import('node:net');
    const silent = createServer(() => {});
    await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done));
    const { port } = silent.address() as { port: number };
    await expect(dial(port, view('/web'), { timeout: 20 })).rejects.toMatchObject({ code: 'unavailable' });
    const abort = new AbortController();
    const dialled = dial(port, view('/web'), { signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(dialled).rejects.toThrow('enough');
    silent.close();
  });

  it('says so where the own certificate has ended', async () => {
    const source = view('/web');
    const clock = new TestClock(source.state.svid.expiresAt + 1);
    await expect(dial(1, source, { clock })).rejects.toThrow(
      'the own certificate of spiffe://example.org/web ended',
    );
  });
});

describe('open connections', () => {
  it('end when the server closes, and so do those that never finished their handshake', async () => {
    const { port, server } = await serve(view('/db'));
    const { socket } = await dial(port, view('/web'));
    await read(socket);
    const silent = connectTcp(port, '127.0.0.1');
    await new Promise((resolve) => silent.once('connect', resolve));
    const ends = [socket, silent].map((one) => new Promise((resolve) => one.once('close', resolve)));
    await server.close();
    await Promise.all(ends);
    expect(server.size).toBe(0);
  });

  it('go on through a renewal, and new ones show the new SVID', async () => {
    const source = view('/db');
    const { port } = await serve(source);
    const first = await dial(port, view('/web'));
    await read(first.socket);
    const renewed = root.svid('/db');
    source.set({ svid: renewed });
    const second = await dial(port, view('/web'));
    expect(second.peer.chain[0]?.serial).toBe(renewed.chain[0]?.serial);
    expect(first.peer.chain[0]?.serial).not.toBe(renewed.chain[0]?.serial);
    first.socket.write('still here');
    expect(await read(first.socket)).toBe('still here');
  });

  it.each([
    ['its peer is revoked', (web: TestView) => ({ crls: [parseCrl(root.crl(web.state.svid))] }), 'revoked'],
    ["its peer's authority leaves the bundle", () => ({ bundles: new Map() }), 'no_bundle'],
  ])('a server cuts a connection when %s, and only that one', async (_what, change, fault) => {
    const trusted = [root.bundle(), other.bundle()];
    const source = new TestView(other.svid('/db'), trusted);
    const web = view('/web', trusted);
    const { port, refusals, server } = await serve(source);
    const cut = await dial(port, web);
    const kept = await dial(port, new TestView(other.svid('/kept'), trusted));
    await read(cut.socket);
    await read(kept.socket);
    const { bundles: next } = { bundles: undefined, ...change(web) };
    source.set({
      ...change(web),
      ...(next === undefined ? {} : { bundles: new Map([['other.example', other.bundle()]]) }),
    });
    expect(await read(cut.socket)).toBe('');
    expect(refusals).toEqual([
      { error: expect.objectContaining({ fault }) as Error, from: 'spiffe://example.org/web' },
    ]);
    kept.socket.write('still here');
    expect(await read(kept.socket)).toBe('still here');
    expect(server.size).toBe(1);
  });

  it('a client cuts its connection when the server is revoked', async () => {
    const db = root.svid('/db');
    const { port } = await serve(new TestView(db, bundles));
    const source = view('/web');
    const cut: string[] = [];
    const { socket } = await dial(port, source, { onCut: ({ message }) => cut.push(message) });
    await read(socket);
    const closed = read(socket);
    source.set({ crls: [parseCrl(root.crl(db))] });
    expect(await closed).toBe('');
    expect(cut).toEqual([expect.stringContaining('revoked')]);
  });

  it.each([
    ['close', 0],
    ['keep', 1],
  ] as const)('at the end of the certificate that opened them: %s', async (atExpiry, left) => {
    const clock = new TestClock();
    const source = view('/db');
    const { port, server } = await serve(source, { clock, atExpiry });
    const web = view('/web');
    const { socket } = await dial(port, web);
    await read(socket);
    clock.advance(web.state.svid.expiresAt - clock.now());
    expect(server.size).toBe(1);
    clock.advance(1_000);
    expect(server.size).toBe(left);
    // Kept ones are still cut when they are revoked.
    source.set({ crls: [parseCrl(root.crl(web.state.svid))] });
    expect(server.size).toBe(0);
  });

  it('leave nothing behind when they end', async () => {
    const clock = new TestClock();
    const { port, server } = await serve(view('/db'), { clock });
    const { socket } = await dial(port, view('/web'), { clock });
    await read(socket);
    expect(clock.next).toBeDefined();
    socket.destroy();
    await until(() => server.size === 0 && clock.next === undefined);
    expect(server.size).toBe(0);
  });
});

describe('who may be at the other end', () => {
  it('is named by IDs and trust domains that are checked', () => {
    expect(() => authorizeId('https://example.org')).toThrow('not a SPIFFE ID');
    expect(() => authorizeMemberOf('Example.org')).toThrow('not a trust domain');
    expect(authorizeId('spiffe://a/b', 'spiffe://a/c').expects).toBe('spiffe://a/b or spiffe://a/c');
    expect(authorizeAny().expects).toBe('any trusted identity');
  });

  it('is nobody where no ID is named', async () => {
    const { port, refusals } = await serve(view('/db'), { authorize: authorizeId() });
    expect(await read((await dial(port, view('/web'))).socket)).toBe('');
    expect(refusals[0]?.error).toMatchObject({ code: 'forbidden' });
  });
});

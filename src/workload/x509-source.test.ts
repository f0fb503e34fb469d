import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { InterlockError } from '../access/index.ts';
import { MAX_MESSAGE_BYTES } from './client.ts';
import { FakeWorkloadApi, TestAuthority, TestClock } from './testing.ts';
import { X509Source, type X509SourceOptions } from './x509-source.ts';
import type { X509State } from './x509-state.ts';

const root = new TestAuthority('example.org');
const other = new TestAuthority('other.example');

let dir: string;
let api: FakeWorkloadApi;
let clock: TestClock;
let errors: InterlockError[];
const opened: X509Source[] = [];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'workload-'));
  api = await new FakeWorkloadApi(join(dir, 'agent.sock')).start();
  clock = new TestClock();
  errors = [];
});

afterEach(() => {
  for (const source of opened.splice(0)) source.close();
  api.stop();
  rmSync(dir, { recursive: true });
});

async function open(options: X509SourceOptions = {}): Promise<X509Source> {
  const onError = (error: InterlockError) => errors.push(error);
  const source = await X509Source.open({ endpoint: api.endpoint, clock, onError, ...options });
  opened.push(source);
  return source;
}

/** The next state that the source tells of. */
function next(source: X509Source): Promise<X509State> {
  return new Promise((resolve) => {
    const stop = source.onUpdate((state) => {
      stop();
      resolve(state);
    });
  });
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise(setImmediate);
}

describe('an X509Source', () => {
  it('opens at the first update and holds its identity, key and bundles', async () => {
    const web = root.child(['/web/']).svid('/web/a', {}, 'internal');
    api.set({ svids: [web], bundles: [root.bundle(), other.bundle()] });
    const source = await open();
    expect(source.svid).toMatchObject({ spiffeId: 'spiffe://example.org/web/a', hint: 'internal' });
    expect(source.svid.chain).toHaveLength(2);
    expect(source.svid.key.equals(web.key)).toBe(true);
    expect(source.svid.expiresAt).toBe(web.expiresAt);
    expect([...source.bundles.keys()].toSorted()).toEqual(['example.org', 'other.example']);
    expect(errors).toEqual([]);
  });

  it('takes the identity that pick chooses, and refuses an update without it', async () => {
    api.set({ svids: [root.svid('/a', {}, 'x'), root.svid('/b', {}, 'y')], bundles: [root.bundle()] });
    const source = await open({ pick: (svids) => svids.find(({ hint }) => hint === 'y') });
    expect(source.svid.spiffeId).toBe('spiffe://example.org/b');
    expect(source.state.svids).toHaveLength(2);
    api.set({ svids: [root.svid('/a', {}, 'x')], bundles: [root.bundle()] });
    await until(() => errors.length > 0);
    expect(errors[0]).toMatchObject({ code: 'not_found' });
    expect(source.svid.spiffeId).toBe('spiffe://example.org/b');
  });

  it('takes every update as complete: a bundle that is not in it is gone', async () => {
    api.set({ svids: [root.svid('/a')], bundles: [root.bundle(), other.bundle()] });
    const source = await open();
    const update = next(source);
    api.set({ svids: [root.svid('/b')], bundles: [root.bundle()] });
    await update;
    expect(source.svid.spiffeId).toBe('spiffe://example.org/b');
    expect([...source.bundles.keys()]).toEqual(['example.org']);
  });

  it('gives every reader the newest state', async () => {
    api.set({ svids: [root.svid('/a')], bundles: [root.bundle()] });
    const source = await open();
    const seen: string[] = [];
    const reader = (async () => {
      for await (const { svid } of source) {
        seen.push(svid.spiffeId);
        if (seen.length === 2) break;
      }
    })();
    await until(() => seen.length === 1);
    api.set({ svids: [root.svid('/b')], bundles: [root.bundle()] });
    await reader;
    expect(seen).toEqual(['spiffe://example.org/a', 'spiffe://example.org/b']);
  });

  it.each([
    [
      'whose key is of another certificate',
      () => ({ ...root.svid('/bad'), key: root.svid('/x').key }),
      'private key',
    ],
    [
      'that has expired',
      () => root.svid('/bad', { notBefore: Date.now() - 7_200_000, notAfter: Date.now() - 3_600_000 }),
      'expired',
    ],
    ['that another authority signed', () => new TestAuthority('example.org').svid('/bad'), 'example.org'],
    [
      'announced under another ID',
      () => ({ ...root.svid('/bad'), spiffeId: root.svid('/else').spiffeId }),
      'names spiffe://example.org/bad',
    ],
  ])('refuses an SVID %s, tells why, and keeps the last good one', async (_what, make, why) => {
    api.set({ svids: [root.svid('/good')], bundles: [root.bundle()] });
    const source = await open();
    api.set({ svids: [root.svid('/fine'), make()], bundles: [root.bundle()] });
    await until(() => errors.length > 0);
    expect(errors[0]?.message).toContain(why);
    expect(source.svid.spiffeId).toBe('spiffe://example.org/good');
    expect(source.lastError).toBe(errors[0]);
    const update = next(source);
    api.set({ svids: [root.svid('/better')], bundles: [root.bundle()] });
    await update;
    expect(source.svid.spiffeId).toBe('spiffe://example.org/better');
    expect(source.lastError).toBeUndefined();
  });

  it.each([
    ['an empty one', { svids: [] }],
    ['bytes that are no certificate', { x509Svid: Buffer.from('zz') }],
    ['a key that is none', { x509SvidKey: Buffer.from('zz') }],
    ['a bundle that is none', { bundle: Buffer.from('zz') }],
    ['a CRL that is none', { crl: [Buffer.from('zz')] }],
  ])('withstands a malformed update: %s', async (_what, change) => {
    const good = { svids: [root.svid('/good')], bundles: [root.bundle()] };
    api.set(good);
    const source = await open();
    const message = api.message(good);
    const [svid] = message.svids;
    if ('svids' in change || 'crl' in change) Object.assign(message, change);
    else Object.assign(svid ?? {}, change);
    api.sendRaw(message);
    await until(() => errors.length > 0);
    expect(source.svid.spiffeId).toBe('spiffe://example.org/good');
    expect(errors[0]?.message).not.toContain('zz');
  });

  it('does not read a message beyond the limit', async () => {
    const good = { svids: [root.svid('/good')], bundles: [root.bundle()] };
    api.set(good);
    const source = await open();
    const message = api.message(good);
    message.crl = [Buffer.alloc(MAX_MESSAGE_BYTES)];
    api.sendRaw(message);
    await until(() => errors.length > 0);
    expect(errors[0]).toMatchObject({ code: 'limit' });
    expect(source.svid.spiffeId).toBe('spiffe://example.org/good');
  });

  it('leaves out one broken federated bundle, and keeps what it knew of that domain', async () => {
    const good = { svids: [root.svid('/a')], bundles: [root.bundle(), other.bundle()] };
    api.set(good);
    const source = await open();
    const message = api.message({ ...good, svids: [root.svid('/b')] });
    message.federatedBundles['spiffe://other.example'] = Buffer.from('zz');
    message.federatedBundles['not a domain'] = Buffer.from('zz');
    const update = next(source);
    api.sendRaw(message);
    await update;
    expect(source.svid.spiffeId).toBe('spiffe://example.org/b');
    expect(source.bundles.get('other.example')?.x509Authorities).toHaveLength(1);
    expect(errors).toHaveLength(2);
  });

  it('never lets a federated bundle stand for the own domain', async () => {
    const good = { svids: [root.svid('/a')], bundles: [root.bundle()] };
    api.set(good);
    const source = await open();
    const message = api.message(good);
    message.federatedBundles['spiffe://example.org'] = new TestAuthority('example.org').certificate.der;
    const update = next(source);
    api.sendRaw(message);
    await update;
    const own = source.bundles.get('example.org')?.x509Authorities ?? [];
    expect(own.map((der) => der.equals(root.certificate.der))).toEqual([true]);
  });

  it('keeps its state while the agent is gone, and goes on with the next one', async () => {
    api.set({ svids: [root.svid('/before')], bundles: [root.bundle()] });
    const source = await open();
    api.stop();
    await until(() => errors.length === 1);
    expect(errors[0]).toMatchObject({ code: 'unavailable' });
    expect(source.svid.spiffeId).toBe('spiffe://example.org/before');
    // Nothing listens at the first attempt.
    clock.advance(clock.next ?? 0);
    await until(() => errors.length === 2);
    await api.start();
    // Long-lived, since gRPC's channel rests for a moment of real time and the clock runs on through the attempts.
    const lasting = { notAfter: Date.now() + 20 * 86_400_000 };
    api.set({ svids: [root.svid('/after', lasting)], bundles: [root.bundle()] });
    while (source.svid.spiffeId !== 'spiffe://example.org/after') {
      const told = errors.length;
      if (clock.next !== undefined) clock.advance(clock.next);
      await until(() => errors.length > told || source.svid.spiffeId === 'spiffe://example.org/after');
    }
    expect(source.lastError).toBeUndefined();
  });

  it('asks again after PermissionDenied, since a registration may still come', async () => {
    api.refusal = { code: status.PERMISSION_DENIED, details: 'no identity issued' };
    const opening = open();
    await until(() => errors.length === 1);
    expect(errors[0]).toMatchObject({ code: 'forbidden' });
    api.refusal = undefined;
    api.set({ svids: [root.svid('/a')], bundles: [root.bundle()] });
    clock.advance(clock.next ?? 0);
    expect((await opening).svid.spiffeId).toBe('spiffe://example.org/a');
  });

  it('does not ask again after InvalidArgument', async () => {
    api.refusal = { code: status.INVALID_ARGUMENT, details: 'no' };
    await expect(open()).rejects.toMatchObject({ code: 'usage', final: true });
    expect(clock.next).toBeUndefined();
    expect(api.calls.get('fetchX509SVID')).toBe(1);
  });

  it('rejects at once where the agent has no X.509', async () => {
    api.refusal = { code: status.UNIMPLEMENTED, details: 'off' };
    await expect(open()).rejects.toMatchObject({ code: 'not_found' });
    expect(clock.next).toBeUndefined();
  });

  it('stops to wait when its signal aborts, and leaves nothing running', async () => {
    api.stop();
    const abort = new AbortController();
    const opening = open({ signal: abort.signal });
    await until(() => errors.length > 0);
    abort.abort(new Error('enough'));
    await expect(opening).rejects.toThrow('enough');
    expect(clock.next).toBeUndefined();
  });

  it('hears nothing more once closed', async () => {
    api.set({ svids: [root.svid('/a')], bundles: [root.bundle()] });
    const source = await open();
    let told = 0;
    source.onUpdate(() => told++);
    source.close();
    api.set({ svids: [root.svid('/b')], bundles: [root.bundle()] });
    await new Promise(setImmediate);
    expect(told).toBe(0);
    expect(source.svid.spiffeId).toBe('spiffe://example.org/a');
    expect(errors).toEqual([]);
  });

  it('tells a listener that throws, and no other is kept from its update', async () => {
    api.set({ svids: [root.svid('/a')], bundles: [root.bundle()] });
    const source = await open();
    source.onUpdate(() => {
      throw new Error('my own fault');
    });
    const update = next(source);
    api.set({ svids: [root.svid('/b')], bundles: [root.bundle()] });
    await update;
    expect(errors.map(({ message }) => message)).toEqual([expect.stringContaining('my own fault')]);
  });
});

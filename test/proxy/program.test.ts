import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type sendUnaryData, type ServerUnaryCall, status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { Proxy, type ProxyDocument, readProxyDocument, Spool, stateFiles } from '../../src/proxy/index.ts';
import { closeAll, closeLater, DB, db, WEB, web } from '../../src/proxy/proxy.test-helper.ts';
import type { SpiffeId } from '../../src/access/index.ts';
import { systemClock, type X509View } from '../../src/workload/index.ts';
import { grpcClient, grpcProgram, unary } from './grpc.test-helper.ts';

afterEach(closeAll);

async function openProxy(document: ProxyDocument, workload: SpiffeId, source: X509View): Promise<Proxy> {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-proxy-'));
  const onFault = (error: unknown) => {
    throw error;
  };
  const proxy = await Proxy.open({
    instance: document.name,
    version: 'test',
    sources: new Map([[workload, source]]),
    inbound: document.inbound.map((route) => ({ ...route, workload })),
    outbound: document.outbound.map((route) => ({ ...route, workload })),
    timeouts: document.timeouts,
    authentication: document.authentication,
    files: stateFiles(dir),
    spool: await Spool.open({ dir: join(dir, 'spool'), now: Date.now, onFault }),
    clock: systemClock,
    onLine: () => {},
    onOnline: () => {},
    onFault,
  });
  closeLater({
    close: async () => {
      await proxy.close();
      rmSync(dir, { recursive: true });
    },
  });
  return proxy;
}

const documentOf = (spec: object) =>
  readProxyDocument(
    JSON.stringify({ apiVersion: 'interlock.dev/v1alpha1', kind: 'Proxy', metadata: { name: 'one' }, spec }),
    'one.yaml',
  );

describe('the proxy as a program', () => {
  it('carries gRPC as its document says, and drains without a lost call', async () => {
    const { address } = await grpcProgram({
      Unary: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => done(null, call.request),
    });
    const far = await openProxy(
      documentOf({
        inbound: [{ listen: '127.0.0.1:0', forward: `127.0.0.1:${address.port}`, programSpeaks: 'h2' }],
      }),
      DB,
      db,
    );
    const near = await openProxy(
      documentOf({
        outbound: [{ listen: '127.0.0.1:0', to: `127.0.0.1:${far.addresses.inbound[0]?.port}`, peer: DB }],
      }),
      WEB,
      web,
    );
    const client = grpcClient(near.addresses.outbound[0]?.port ?? 0);
    expect(await unary(client, Buffer.from('x'))).toMatchObject({ code: status.OK, value: Buffer.from('x') });
    expect(far.status.counters).toMatchObject({ accepted: 1, refused: 0 });
    await Promise.all([near.drain(5_000), far.drain(5_000)]);
    expect([near.status.connections, far.status.connections]).toEqual([0, 0]);
  });
});

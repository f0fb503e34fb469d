import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import { parseCrl } from '../../src/identity/index.ts';
import { ManualTimers } from '../../src/node/manual-timers.test-helper.ts';
import type { X509SVIDResponse } from '../../src/proto/index.ts';
import {
  authorizeAny,
  connectMtls,
  createMtlsServer,
  type Peer,
  type Refusal,
  X509Source,
} from '../../src/workload/index.ts';
import { Node, Opened, Plane, serialOf, Stream } from './harness.ts';
import { judgedClient, judgedServer } from './mtls.ts';
import { Watched } from './watched.ts';

const opened = new Opened();
afterEach(() => opened.close());

/** Two identities for every process, told apart by their hints. */
const TWO = ['one', 'two']
  .map(
    (name) => `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: ${name} }
spec: { spiffeId: "/${name}/{unix.uid}", when: "true", ttl: 1h, hint: ${name} }
`,
  )
  .join('---');
const uid = process.getuid?.() ?? 0;
const ONE = `spiffe://example.org/one/${uid}`;
const OTHER = `spiffe://example.org/two/${uid}`;

/** The agent's time stands: what reaches its workloads was pushed, and waited for no timer of the agent. */
async function estate(rules = TWO) {
  const plane = await Plane.start(opened, { rules });
  const token = await plane.token('node-1');
  const timers = new ManualTimers(Date.now());
  const node = await Node.online(opened, { address: plane.address, token, timers });
  return { plane, node };
}

/** The serial numbers that the lists of a message revoke. */
function revokedIn({ crl }: X509SVIDResponse): string[] {
  return crl.flatMap((der) => [...parseCrl(Buffer.from(der)).revoked.keys()]);
}

/** Does it, and says how long after that the stream had it: how busy the machine was as well, so nothing is expected. */
async function timed<T>(what: string, act: () => Promise<unknown>, seen: () => Promise<T>): Promise<T> {
  const start = performance.now();
  await act();
  const result = await seen();
  console.log(`${what}: in force after ${(performance.now() - start).toFixed(0)} ms`);
  return result;
}

describe('a certificate that is revoked by its serial number', () => {
  test('leaves the stream, stands on the CRL there, and gives way to a new one', async () => {
    const { plane, node } = await estate();
    const stream = Stream.open(opened, node.endpoint);
    const { svids } = await stream.state(({ svids }) => svids.length === 2, 'two SVIDs');
    const serial = serialOf(svids[0] ?? { x509Svid: new Uint8Array() });
    const holds = (state: X509SVIDResponse) => state.svids.some((svid) => serialOf(svid) === serial);

    const after = await timed(
      'revoked by serial number',
      () => plane.api.post('/v1/revocations', { serial, reason: 'keyCompromise' }),
      () => stream.state((state) => revokedIn(state).includes(serial) && !holds(state), 'the CRL'),
    );
    expect(holds(after)).toBe(false);
    const renewed = await stream.state(
      (state) => state.svids.length === 2 && !holds(state),
      'a new SVID in its place',
    );
    expect(renewed.svids.map(({ spiffeId }) => spiffeId).toSorted()).toEqual([ONE, OTHER]);
    expect(revokedIn(renewed)).toEqual([serial]);
    const { entries } = await plane.api.get<{ entries: { act: string; what: string }[] }>('/v1/audit');
    expect(entries).toContainEqual(expect.objectContaining({ act: 'certificate.revoke', what: serial }));
  });
});

describe('an identity that is revoked', () => {
  test('leaves the stream and is signed no more, until it is allowed again', async () => {
    const { plane, node } = await estate();
    const stream = Stream.open(opened, node.endpoint);
    const before = await stream.state(({ svids }) => svids.length === 2, 'two SVIDs');
    const serials = before.svids.filter(({ spiffeId }) => spiffeId === ONE).map(serialOf);
    const ids = ({ svids }: X509SVIDResponse) => svids.map(({ spiffeId }) => spiffeId);

    const after = await timed(
      'revoked by SPIFFE ID',
      () => plane.api.post('/v1/revocations', { spiffeId: ONE }),
      () => stream.state((state) => !ids(state).includes(ONE) && revokedIn(state).length > 0, 'the removal'),
    );
    expect(ids(after)).toEqual([OTHER]);
    expect(revokedIn(after)).toEqual(serials);

    await plane.api.call('revocations.end', { params: { spiffeId: ONE } });
    const again = await stream.state((state) => ids(state).includes(ONE), 'the identity again');
    const fresh = again.svids.filter(({ spiffeId }) => spiffeId === ONE).map(serialOf);
    expect(fresh).not.toEqual(serials);
    // What was revoked stays revoked.
    expect(revokedIn(again)).toEqual(serials);
  });

  test('that was the only one of a workload ends its stream with PermissionDenied', async () => {
    const { plane, node } = await estate(TWO.split('---')[0]);
    const stream = Stream.open(opened, node.endpoint);
    await stream.svid(() => true, 'an SVID');
    const before = stream.errors.length;
    await plane.api.post('/v1/revocations', { spiffeId: ONE });
    const refused = await stream.until(() => stream.errors[before], 'the end of the stream');
    expect(refused).toMatchObject({ status: status.PERMISSION_DENIED });
  });
});

describe('an open connection of a peer that is revoked', () => {
  test.each(['by SPIFFE ID', 'by serial number'])(
    'is cut by its peer, and a new one refused: %s',
    async (how) => {
      const { plane, node } = await estate();
      const pick = (hint: string) => X509Source.open({ endpoint: node.endpoint, pick: byHint(hint) });
      const [here, there] = [await pick('one'), await pick('two')];
      opened.later(() => here.close());
      opened.later(() => there.close());

      const seen = new Watched();
      const refusals: Refusal[] = [];
      const sockets: [TLSSocket, Peer][] = [];
      const policy = { authorize: authorizeAny() };
      const server = createMtlsServer({
        ...policy,
        source: here,
        onConnection: (socket, peer) => {
          sockets.push([socket, peer]);
          seen.changed();
        },
        onRefused: (refusal) => {
          refusals.push(refusal);
          seen.changed();
        },
      });
      opened.later(() => server.close());
      const { port } = (await server.listen({ port: 0, host: '127.0.0.1' })) as AddressInfo;
      const target = { host: '127.0.0.1', port };
      const { socket } = await connectMtls(target, { ...policy, source: there });
      await seen.until(() => sockets.length === 1, 'the connection');
      const kept = sockets[0]?.[1].spiffeId;
      expect(kept).toBe(OTHER);
      const closed = once(socket, 'close');

      const before = there.svid;
      const serial = before.chain[0]?.serial;
      const body = how === 'by serial number' ? { serial } : { spiffeId: OTHER };
      await plane.api.post('/v1/revocations', body);
      await closed;
      await seen.until(() => refusals.length > 0, 'the word of the cut');
      expect(refusals[0]).toMatchObject({
        from: OTHER,
        error: { code: 'untrusted', message: expect.stringContaining('revoked') },
      });
      // And it does not come back with what it had.
      expect(await judgedClient(opened, before, here)).toContain('revoked');
      expect(await judgedServer(opened, before, here)).toContain('revoked');
    },
  );
});

function byHint(hint: string) {
  return (svids: readonly X509Source['svid'][]) => svids.find((svid) => svid.hint === hint);
}

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { status } from '@grpc/grpc-js';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterEach, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../src/access/index.ts';
import { verifyX509Svid } from '../../src/identity/index.ts';
import { attestorsFrom } from '../../src/server/index.ts';
import { X509Source } from '../../src/workload/index.ts';
import { askDelegated, connectTo, local, stranger } from './callers.ts';
import { faultOf, forgeAuthority, forgeLeaf, stolenKey } from './forge.ts';
import { Node, Opened, Plane, shifted, Stream, UID_RULE } from './harness.ts';
import { judgedClient, judgedServer } from './mtls.ts';
import { script } from './processes.ts';

const opened = new Opened();
afterEach(() => opened.close());
const MINUTES_5 = 300_000;
const OWN = parseSpiffeId(`spiffe://example.org/uid/${process.getuid?.() ?? 0}`);

async function planeAndNode(delegates = [OWN]) {
  const plane = await Plane.start(opened);
  const token = await plane.token('node-1');
  const node = await Node.online(opened, { address: plane.address, token, delegates });
  return { plane, node, token };
}

describe('a workload that has ended', () => {
  test('gives nobody its identity by a connection that it leaves behind', async () => {
    const { node } = await planeAndNode();
    const { said } = script(opened, 'handed-over', { args: [node.socketPath] });
    const answer = await said.with('status');
    expect(answer['status']).not.toBe(status.OK);
    expect(answer['message']).toContain('went%20away');
    await node.log.line('FetchX509SVID', 'went away');
  });
});

describe('a delegate that names a process', () => {
  test('gets the identity that the agent finds for a process that runs', async () => {
    const { node } = await planeAndNode();
    const answer = await askDelegated(local(opened, node.adminSocketPath), { pid: process.pid });
    expect(answer).toMatchObject({ x509Svids: [{ x509Svid: { id: { path: OWN.slice(20) } } }] });
  });

  test('is refused a process that is gone, no process, and selectors of its own making, each with a log line', async () => {
    const { node } = await planeAndNode();
    const client = local(opened, node.adminSocketPath);
    const child = spawn('true');
    const pid = child.pid ?? 0;
    await once(child, 'exit');
    expect(await askDelegated(client, { pid })).toEqual({
      code: status.UNAVAILABLE,
      details: expect.stringContaining(`process ${pid}`),
    });
    await node.log.line('SubscribeToX509SVIDs', `process ${pid}`);
    // The largest number that a process can have is 2^22 (proc(5), pid_max).
    expect(await askDelegated(client, { pid: 2 ** 22 + 1 })).toMatchObject({ code: status.UNAVAILABLE });
    expect(await askDelegated(client, { pid: -1 })).toMatchObject({ code: status.INVALID_ARGUMENT });
    const selectors = [{ type: 'unix', value: 'uid:0' }];
    expect(await askDelegated(client, { selectors })).toMatchObject({ code: status.INVALID_ARGUMENT });
    await node.log.line('SubscribeToX509SVIDs', 'selectors are not taken from a caller');
  });

  test('is refused where it is no delegate', async () => {
    const { node } = await planeAndNode([parseSpiffeId('spiffe://example.org/uid/4711')]);
    const client = local(opened, node.adminSocketPath);
    expect(await askDelegated(client, { pid: process.pid })).toMatchObject({
      code: status.PERMISSION_DENIED,
    });
    await node.log.line('SubscribeToX509SVIDs', 'caller not configured as an authorized delegate');
  });
});

describe('a node that proves what it is', () => {
  test('is refused the second use of a join token, and of two at once exactly one gets in', async () => {
    const { plane, token } = await planeAndNode();
    const late = await Node.start(opened, { address: plane.address, token });
    const reason = 'this join token is not accepted: it was used already';
    await late.log.line('not connected to the control plane', reason);
    await plane.log.line('a call was refused', '127.0.0.1:', reason);
    expect(late.agent.isAttested).toBe(false);

    const fresh = await plane.token('node-2');
    const both = await Promise.all(
      [1, 2].map(() => Node.start(opened, { address: plane.address, token: fresh })),
    );
    const ends = both.map(({ log }) =>
      Promise.race([
        log.line('this node is attested').then(() => 'attested'),
        log.line(reason).then(() => 'refused'),
      ]),
    );
    expect((await Promise.all(ends)).toSorted()).toEqual(['attested', 'refused']);
    const agents = await plane.issued('agent');
    expect(agents.filter(({ spiffeId }) => spiffeId.endsWith('/node-2'))).toHaveLength(1);
  });

  test('is refused a token of an OIDC issuer that was shown before, and one from a clock that is 5 minutes ahead', async () => {
    const issuer = await oidcIssuer();
    const plane = await Plane.start(opened, { attestors: issuer.attestors });
    const attest = async (token: string) =>
      Node.start(opened, {
        address: plane.address,
        // The join token names the control plane; nobody uses it.
        token: await plane.token('unused'),
        evidence: { attestor: 'oidc', payload: async () => Buffer.from(token) },
      });
    const token = await issuer.token(0);
    await (await attest(token)).log.line('this node is attested', '/interlock/agent/oidc/job-7');
    const replay = await attest(token);
    await replay.log.line('not connected', 'it was used already, and each is taken once');
    await plane.log.line('a call was refused', 'https://ci.example', 'it was used already');

    const early = await attest(await issuer.token(MINUTES_5));
    await early.log.line('not connected', 'it is valid only from', 'compare the clocks');
    const old = await attest(await issuer.token(-2 * MINUTES_5));
    await old.log.line('not connected', 'it expired', "by this server's clock");
    await plane.log.line('a call was refused', 'compare the clocks');
    expect([replay, early, old].filter(({ agent }) => agent.isAttested)).toEqual([]);
  });
});

describe('an agent whose clock is 5 minutes off', () => {
  test('says so where it is behind: the control plane’s certificate is not valid yet', async () => {
    const plane = await Plane.start(opened);
    const token = await plane.token('node-1');
    const node = await Node.start(opened, { address: plane.address, token, timers: shifted(-MINUTES_5) });
    await node.log.line('not connected to the control plane', 'it is valid only from');
    expect(node.agent.isAttested).toBe(false);
  });

  test('says so where it is ahead: an SVID of a minute has ended when it comes', async () => {
    const plane = await Plane.start(opened, { rules: UID_RULE.replace('ttl: 1h', 'ttl: 1m') });
    const token = await plane.token('node-1');
    const node = await Node.online(opened, { address: plane.address, token, timers: shifted(MINUTES_5) });
    const stream = Stream.open(opened, node.endpoint);
    await node.log.line('no SVID was signed for a workload', "set this node's clock, or the control plane's");
    await stream.until(() => stream.errors[0], 'a refusal');
    expect(stream.messages).toEqual([]);
  });
});

describe('a certificate', () => {
  test('of an expired intermediate, or of a clock 5 minutes ahead, is refused by every verifier with the reason', async () => {
    const { plane, node } = await planeAndNode();
    const [slot] = plane.serving.plane.authorities.slots;
    if (slot === undefined) throw new TypeError('a control plane that serves has an authority');
    const root = { chain: [slot.root], signer: stolenKey(plane.state, slot.id) };
    const expired = forgeAuthority(root, undefined, {
      notBefore: Date.now() - 7_200_000,
      notAfter: Date.now() - 60_000,
    });
    const id = 'spiffe://example.org/interlock/agent/join_token/node-1';
    const forged = {
      expired: forgeLeaf(expired, id),
      not_yet_valid: forgeLeaf(root, id, { notBefore: Date.now() + MINUTES_5 }),
    };
    const source = await X509Source.open({ endpoint: node.endpoint });
    opened.later(() => source.close());
    const { bundles } = source;

    for (const [fault, svid] of Object.entries(forged)) {
      expect(faultOf(() => verifyX509Svid(svid.chain, { bundles, now: Date.now() }))).toBe(fault);
      const words = fault === 'expired' ? 'expired' : 'it is valid only from';
      expect(await judgedServer(opened, svid, source)).toContain(words);
      expect(await judgedClient(opened, svid, source)).toContain(words);
      const ending = await connectTo(stranger(opened, plane.address, svid));
      expect(ending).toEqual({ code: status.UNAUTHENTICATED, details: expect.stringContaining(words) });
      await plane.log.line('a connection was refused', '127.0.0.1:', words);
    }
    // The same leaf from an authority in force gets in: it was the certificate that was refused, and nothing else.
    const genuine = forgeLeaf(root, id);
    expect(faultOf(() => verifyX509Svid(genuine.chain, { bundles, now: Date.now() }))).toBe('none');
    // And it is refused by who is 5 minutes behind, in either role.
    const clock = shifted(-MINUTES_5);
    expect(await judgedServer(opened, genuine, source, clock)).toContain('it is valid only from');
    expect(await judgedClient(opened, genuine, source, clock)).toContain('it is valid only from');
  });
});

/** An issuer of job tokens, with the attestor that takes them. */
async function oidcIssuer() {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256', use: 'sig' }] };
  const config = {
    oidc: [{ issuer: 'https://ci.example', audience: 'interlock', when: 'true', agent: 'claims.sub', jwks }],
  };
  return {
    attestors: attestorsFrom(JSON.stringify(config), 'attestors.yaml'),
    /** A token of a clock that is so many milliseconds off; it lives for 5 minutes. */
    token(off: number): Promise<string> {
      const iat = Math.floor((Date.now() + off) / 1000);
      return new SignJWT({
        iss: 'https://ci.example',
        aud: 'interlock',
        sub: 'job-7',
        iat,
        exp: iat + 300,
        jti: String(off),
      })
        .setProtectedHeader({ alg: 'ES256', kid: 'k', typ: 'JWT' })
        .sign(privateKey);
    },
  };
}

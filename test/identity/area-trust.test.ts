import { generateKeyPair, SignJWT, exportJWK } from 'jose';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../src/access/index.ts';
import {
  type Bundles,
  certificateToPem,
  createRequest,
  exportPkcs8,
  generateKey,
  issueAuthority,
  issuerOf,
  issueX509,
  parseCertificates,
  parseCrl,
  parseRequest,
  pem,
  SETTLE_MS,
  signerOf,
  verifyX509Svid,
} from '../../src/identity/index.ts';
import { type NodeEvidence, x509Evidence } from '../../src/node/index.ts';
import { attestorsFrom, realTimers } from '../../src/server/index.ts';
import { certificateOf } from '../../src/server/identity/slots.ts';
import { JwtSource, X509Source } from '../../src/workload/index.ts';
import { Node, Opened, Plane, type PlaneOptions, serialOf, Stream } from './harness.ts';
import { DEADLINE_MS } from './watched.ts';

const opened = new Opened();
afterAll(() => opened.close());

const childRule = (name: string) => `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: ${name}-authority }
spec:
  spiffeId: /authorities/${name}
  nodes: { selectors: ["agent:id:spiffe://example.org/interlock/agent/join_token/${name}"] }
  downstream: { prefixes: ["/area/${name}/"] }
`;
const areaRule = (name: string) => `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: by-uid }
spec: { spiffeId: "/area/${name}/uid/{unix.uid}", when: "true", ttl: 1h }
`;
const uid = process.getuid?.() ?? 0;
const idIn = (area: string) => `spiffe://example.org/area/${area}/uid/${uid}`;

/** A clock that is behind until everything has started: the control planes have then run for a while. */
let behind = SETTLE_MS;
const timers = { ...realTimers, now: () => Date.now() - behind };
let root: Plane;
let rootNode: Node;
let pay: Plane;
let payNode: Node;
let shop: Plane;
let shopNode: Node;

async function child(name: string, options: PlaneOptions = {}): Promise<Plane> {
  await root.apply(childRule(name));
  const parent = { address: root.address, joinToken: await root.token(name) };
  return Plane.start(opened, { parent, rules: areaRule(name), timers, ...options });
}

async function nodeOf(plane: Plane): Promise<Node> {
  return Node.online(opened, { address: plane.address, token: await plane.token('node') });
}

beforeAll(async () => {
  root = await Plane.start(opened, { timers });
  const attestors = attestorsFrom(JSON.stringify(await attestorConfig()), 'attestors.yaml');
  pay = await child('pay', { attestors });
  shop = await child('shop');
  behind = 0;
  [rootNode, payNode, shopNode] = await Promise.all([nodeOf(root), nodeOf(pay), nodeOf(shop)]);
});

const revokedIn = (crls: readonly Uint8Array[]) =>
  crls.flatMap((der) => [...parseCrl(Buffer.from(der)).revoked.keys()]);

/** What the three attestors take that work below a child without a join token, and the evidence for each. */
const evidence = new Map<string, { evidence: NodeEvidence; name: string }>();

async function attestorConfig() {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256', use: 'sig' }] };
  const iat = Math.floor(Date.now() / 1000) - SETTLE_MS / 1000;
  const sign = (claims: object) =>
    new SignJWT({ aud: 'interlock', iat, exp: iat + 600, jti: 'one', ...claims })
      .setProtectedHeader({ alg: 'ES256', kid: 'k', typ: 'JWT' })
      .sign(privateKey);
  const job = await sign({ iss: 'https://ci.example', sub: 'job-7' });
  evidence.set('oidc', {
    evidence: { attestor: 'oidc', payload: async () => Buffer.from(job) },
    name: 'oidc/job-7',
  });
  const pod = await sign({
    iss: 'https://cluster.example',
    sub: 'system:serviceaccount:interlock:agent',
    'kubernetes.io': {
      namespace: 'interlock',
      serviceaccount: { name: 'agent', uid: 'u1' },
      pod: { name: 'agent-1', uid: 'u2' },
      node: { name: 'node-1', uid: 'u3' },
    },
  });
  evidence.set('k8s_psat', {
    evidence: {
      attestor: 'k8s_psat',
      payload: async () => Buffer.from(JSON.stringify({ cluster: 'prod', token: pod })),
    },
    name: 'k8s_psat/prod/node/node-1',
  });
  const { roots, file, keyFile } = await otherCertificates();
  evidence.set('x509pop', { evidence: x509Evidence(file, keyFile), name: 'x509pop/' });
  return {
    oidc: [{ issuer: 'https://ci.example', audience: 'interlock', when: 'true', agent: 'claims.sub', jwks }],
    k8s_psat: [
      { name: 'prod', serviceAccounts: ['interlock:agent'], issuer: 'https://cluster.example', jwks },
    ],
    x509pop: { roots },
  };
}

/** The certificate of a node from elsewhere. */
async function otherCertificates() {
  const [rootKey, key] = [generateKey('ec-p256'), generateKey('ec-p256')];
  const times = { notBefore: Date.now() - SETTLE_MS - 10_000, notAfter: Date.now() + 3_600_000 };
  const above = { ...times, signer: signerOf(rootKey), random: randomBytes };
  const ca = await issueAuthority({ trustDomain: 'nodes.example', ...above });
  const leaf = await issueX509({
    spiffeId: parseSpiffeId('spiffe://nodes.example/node-1'),
    request: parseRequest(createRequest(key)),
    issuer: issuerOf(ca),
    ...above,
  });
  const [file, keyFile] = ['node.pem', 'node.key'].map((name) => join(opened.dir(), name)) as [
    string,
    string,
  ];
  writeFileSync(file, certificateToPem(leaf.der));
  writeFileSync(keyFile, pem('PRIVATE KEY', exportPkcs8(key)), { mode: 0o600 });
  return { roots: certificateToPem(ca.der), file, keyFile };
}

describe('a node that has the trust bundle, and no join token', () => {
  const SERVER = parseSpiffeId('spiffe://example.org/area/pay/interlock/server');
  const bundles = (): Bundles =>
    new Map([['example.org', { ...root.serving.plane.registry.ownBundle, jwtAuthorities: [] }]]);

  test.each(['x509pop', 'k8s_psat', 'oidc'])(
    "attests by %s below a child whose ID it is told, and gets an agent's ID in its area",
    async (attestor) => {
      const found = evidence.get(attestor);
      const node = await Node.online(opened, {
        address: pay.address,
        trust: { bundles: bundles(), server: SERVER },
        ...(found && { evidence: found.evidence }),
      });
      const { spiffeId } = node.agent.status();
      expect(spiffeId).toContain(`spiffe://example.org/area/pay/interlock/agent/${found?.name}`);
      const { svids } = await Stream.open(opened, node.endpoint).state(
        ({ svids }) => svids.length > 0,
        'an SVID',
      );
      expect(svids[0]?.spiffeId).toBe(idIn('pay'));
    },
  );

  test('sends its evidence to no other control plane: neither its own ID, nor a good root, is enough', async () => {
    const cases = [
      // Not told whose it is: the root's.
      [pay, undefined, /which is spiffe:\/\/example.org\/interlock\/server/],
      [shop, SERVER, /\/area\/shop\/interlock\/server is not the control plane that is expected/],
      [root, SERVER, /\/example.org\/interlock\/server is not the control plane that is expected/],
    ] as const;
    for (const [plane, server, reason] of cases) {
      let asked = 0;
      const payload = async () => Buffer.from(String(++asked));
      const node = await Node.start(opened, {
        address: plane.address,
        trust: { bundles: bundles(), server },
        evidence: { attestor: 'oidc', payload },
      });
      expect((await node.log.line('not connected to the control plane')).text).toMatch(reason);
      await node.agent.close();
      expect(plane.log.lines.filter(({ text }) => text.includes('this node is attested'))).toEqual([]);
    }
  });
});

describe('what is revoked', () => {
  test('at one child is in force below the root and below the other child, and the other way round', async () => {
    const streams = [payNode, shopNode, rootNode].map(({ endpoint }) => Stream.open(opened, endpoint));
    const before = await Promise.all(streams.map((stream) => stream.svid(() => true, 'an SVID')));
    for (const [i, plane] of [pay, shop, root].entries()) {
      const serial = serialOf(before[i] ?? { x509Svid: new Uint8Array() });
      const others = streams.filter((_, at) => at !== i);
      const start = performance.now();
      await plane.api.post('/v1/revocations', { serial, reason: 'keyCompromise' });
      await Promise.all(
        others.map((stream) =>
          stream.state(({ crl }) => revokedIn(crl).includes(serial), `${serial} on a list`),
        ),
      );
      console.log(`revoked in the other areas after ${(performance.now() - start).toFixed(0)} ms`);
      // Its workload gets another one, and has the list as well.
      const again = await streams[i]?.svid((svid) => serialOf(svid) !== serial, 'a new SVID');
      expect(again?.spiffeId).toBe(before[i]?.spiffeId);
      expect(revokedIn(streams[i]?.latest?.crl ?? [])).toContain(serial);
    }
  });

  test('as an ID at a child gets nothing from the root either, until the child allows it', async () => {
    const spiffeId = `spiffe://example.org/area/pay/uid/4711`;
    await pay.api.post('/v1/revocations', { spiffeId });
    await seen(() => root.serving.plane.registry.revocations.current.value.spiffeIds.has(spiffeId));
    await seen(() => shop.serving.plane.registry.revocations.current.value.spiffeIds.has(spiffeId));
    expect(pay.serving.plane.registry.upstream.spiffeIds).not.toContain(spiffeId);
    await expect(root.api.call('revocations.end', { params: { spiffeId } })).rejects.toThrow(
      /where it was revoked/,
    );
    await pay.api.call('revocations.end', { params: { spiffeId } });
    await seen(() => !root.serving.plane.registry.revocations.current.value.spiffeIds.has(spiffeId));
  });
});

/** Waits until it holds; what is waited for tells nobody when it does. */
async function seen(holds: () => boolean): Promise<void> {
  const end = Date.now() + DEADLINE_MS;
  while (!holds()) {
    if (Date.now() > end) throw new Error('it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('a rule at a child that is limited to prefixes', () => {
  const named = (name: string, spiffeId: string) => `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: ${name} }
spec: { spiffeId: "${spiffeId}", selectors: ["unix:uid:99999"] }
`;
  test('that gives IDs outside them is taken with a warning, and explain says that they are refused', async () => {
    const yaml = `${named('out', '/web')}---${named('in', '/area/pay/web')}`;
    const applied = await pay.api.post<{ created: string[]; warnings: string[] }>('/v1/rules', { yaml });
    expect(applied.created).toEqual(['out', 'in']);
    expect(applied.warnings).toEqual([
      'rule "out" gives nothing: /web is outside /area/pay/, to which this authority is limited',
    ]);
    const attributes = { unix: { uid: 99999, gid: 0, groups: [] } };
    const { rules } = await pay.api.post<{ rules: { rule: string; reason?: string }[] }>(
      '/v1/rules/explain',
      {
        attributes,
      },
    );
    expect(rules.find(({ rule }) => rule === 'out')?.reason).toBe(
      'spiffe://example.org/web is refused: outside /area/pay/',
    );
    expect(rules.find(({ rule }) => rule === 'in')?.reason).toBeUndefined();
    const atRoot = await root.api.post<{ warnings: string[] }>('/v1/rules', { yaml });
    expect(atRoot.warnings).toEqual([]);
  });
});

describe('a tainted authority of the parent', () => {
  test('gives way at the children: their intermediates, and all that those have signed; then it can be revoked', async () => {
    const activeOf = (plane: Plane) => {
      const slot = plane.serving.plane.authorities.slots.find(({ state }) => state === 'active');
      if (slot === undefined) throw new TypeError('no authority is active');
      return slot;
    };
    const streams = [payNode, shopNode].map(({ endpoint }) => Stream.open(opened, endpoint));
    const before = await Promise.all(streams.map((stream) => stream.svid(() => true, 'an SVID')));
    const old = activeOf(root);
    const intermediates = [pay, shop].map((plane) => activeOf(plane).id);
    const next = await root.api.post<{ id: string }>('/v1/authorities/rotate', { name: 'default' });
    await seen(() => activeOf(root).id === next.id);

    await root.api.post(`/v1/authorities/${old.id}/taint`, { overMs: 0 });
    await seen(() => [pay, shop].every((plane) => certificateOf(activeOf(plane)).authorityKeyId === next.id));
    for (const [i, stream] of streams.entries()) {
      const after = await stream.svid((svid) => serialOf(svid) !== serialOf(before[i] ?? svid), 'a new SVID');
      const [leaf, intermediate] = parseCertificates(after.x509Svid);
      expect(leaf?.authorityKeyId).not.toBe(intermediates[i]);
      expect(intermediate?.authorityKeyId).toBe(next.id);
    }
    // Nothing of it is left, and what was replaced is not replaced again and again.
    const live = async () => {
      const all = await root.api.get<{ authorities: { id: string; live: Record<string, number> }[] }>(
        '/v1/authorities',
      );
      return all.authorities.find(({ id }) => id === old.id)?.live ?? {};
    };
    const drained = async () => {
      while (Object.keys(await live()).length > 0) await new Promise((resolve) => setTimeout(resolve, 50));
    };
    await drained();
    const agents = await root.issued('agent');
    const ofPay = agents.filter(({ spiffeId }) => spiffeId.endsWith('/join_token/pay'));
    expect(ofPay).toHaveLength(2);

    await root.api.post(`/v1/authorities/${old.id}/revoke`);
    await Promise.all(
      streams.map((stream) =>
        stream.svid(
          ({ bundle }) => parseCertificates(bundle).length === 1,
          'the bundle without the old root',
        ),
      ),
    );
    const [ofPayNode, ofShopNode] = await Promise.all(
      [payNode, shopNode].map(({ endpoint }) => X509Source.open({ endpoint })),
    );
    for (const source of [ofPayNode, ofShopNode]) opened.later(() => source?.close());
    const { svid } = ofPayNode ?? {};
    const { bundles } = ofShopNode ?? { bundles: new Map() };
    expect(verifyX509Svid(svid?.chain ?? [], { bundles, now: Date.now() }).spiffeId).toBe(idIn('pay'));
  });
});

describe('a JWT-SVID of an area', () => {
  test('is accepted in the other area and below the root', async () => {
    const [own, ...others] = await Promise.all(
      [payNode, shopNode, rootNode].map(({ endpoint }) => JwtSource.open({ endpoint })),
    );
    for (const source of [own, ...others]) opened.later(() => source?.close());
    const { token, spiffeId } = (await own?.fetchJwtSvid(['bank'])) ?? {};
    expect(spiffeId).toBe(idIn('pay'));
    for (const source of others)
      expect((await source.validate(token ?? '', 'bank')).spiffeId).toBe(idIn('pay'));
  });

  // The last one: a parent that was started anew waits before it lets an authority take over.
  test('that is there serves on while the parent is away; a new one is refused with the reason', async () => {
    const source = await JwtSource.open({ endpoint: payNode.endpoint });
    opened.later(() => source.close());
    const { token } = await source.fetchJwtSvid(['kept']);
    await root.stop();
    await pay.log.line('not connected to the parent');
    const again = await JwtSource.open({ endpoint: payNode.endpoint });
    opened.later(() => again.close());
    await expect(again.fetchJwtSvid(['new'])).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('the parent at'),
    });
    expect((await again.fetchJwtSvid(['kept'])).token).toBe(token);
    const from = pay.log.lines.length;
    await root.start();
    await pay.log.lineFrom(from, 'info connected to the parent');
    expect((await again.fetchJwtSvid(['new'])).spiffeId).toBe(idIn('pay'));
  });
});

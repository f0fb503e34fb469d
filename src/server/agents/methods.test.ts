import type { KeyObject } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, Server, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import { certificateToPem, createRequest, generateKey } from '../../identity/index.ts';
import {
  AgentService,
  type AgentSvid,
  AttestRequestSchema,
  type AttestResponse,
  grpcService,
  PublishBundleRequestSchema,
} from '../../proto/index.ts';
import { type TestApi, testApi } from '../api/testing.test-helper.ts';
import { applyRules } from '../identity/rules.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import { makeJoinToken } from '../identity/tokens.ts';
import { childRule } from '../identity/child-planes.test-helper.ts';
import { rulesOf, TestPlane } from '../testing.test-helper.ts';
import { realTimers } from '../timers.ts';

const attestMethod = grpcService(AgentService).attest;
const HOUR = 3_600_000;

interface Shown {
  readonly key: KeyObject;
  readonly chain: readonly Uint8Array[];
}

/** Every method that the running control plane has added to its port. */
const methods = new Set<string>();
let api: TestApi;
let other: TestPlane;
const CALLERS = [
  'nobody',
  'workload',
  'agent',
  'child',
  'other trust domain',
  'revoked workload',
  'evicted agent',
] as const;
const callers = new Map<(typeof CALLERS)[number], Shown | undefined>();

beforeAll(async () => {
  const added = vi.spyOn(Server.prototype, 'addService');
  api = await testApi();
  for (const [definition] of added.mock.calls)
    for (const { path } of Object.values(definition)) methods.add(path);
  added.mockRestore();
  const { plane } = api.serving;
  await applyRules(
    'test',
    rulesOf(childRule('child', '{ prefixes: ["/area/"] }')),
    plane.registry,
    plane.recorder,
  );
  other = await TestPlane.make({ trustDomain: 'other.example' });
  const web = parseSpiffeId('spiffe://example.org/ns/shop/sa/web');
  const old = parseSpiffeId('spiffe://example.org/ns/shop/sa/old');
  callers.set('nobody', undefined);
  callers.set('workload', await workload(plane, web));
  callers.set('agent', await agent('node'));
  callers.set('child', await agent('child'));
  callers.set(
    'other trust domain',
    await workload(other.plane, parseSpiffeId('spiffe://other.example/ns/shop/sa/web')),
  );
  callers.set('revoked workload', await workload(plane, old));
  await plane.revoking.revokeId('test', old, 'gone');
  callers.set('evicted agent', await agent('evicted'));
  await plane.agents.evict('test', agentId('evicted'), 'stolen');
});
afterAll(async () => {
  await other.remove();
  await api.close();
});

const agentId = (name: string) => parseSpiffeId(`spiffe://example.org/interlock/agent/join_token/${name}`);

async function workload(plane: ControlPlane, spiffeId: SpiffeId): Promise<Shown> {
  const key = generateKey('ec-p256');
  const order = {
    kind: 'workload',
    spiffeId,
    csr: createRequest(key),
    ttl: HOUR,
    agent: '',
    rule: '',
  } as const;
  return { key, chain: (await plane.issuing.leaf(order)).chain };
}

/** An agent that has attested itself over the wire. */
async function agent(name: string): Promise<Shown> {
  const { authorities, recorder } = api.serving.plane;
  const order = { agent: name, ttlMs: HOUR, attributes: {} };
  const { token } = await makeJoinToken('test', order, authorities, recorder, realTimers);
  const key = generateKey('ec-p256');
  const client = clientOf(undefined);
  const svid = await new Promise<AgentSvid>((resolve, reject) => {
    const call = client.makeBidiStreamRequest(
      attestMethod.path,
      attestMethod.requestSerialize,
      attestMethod.responseDeserialize,
    );
    call.on('error', reject);
    call.on('data', ({ step }: AttestResponse) => {
      if (step.case === 'svid') resolve(step.value);
    });
    const value = { attestor: 'join_token', payload: Buffer.from(token), csr: createRequest(key) };
    call.write(create(AttestRequestSchema, { step: { case: 'start', value } }));
    call.end();
  });
  client.close();
  return { key, chain: svid.chain };
}

function clientOf(shown: Shown | undefined): Client {
  const roots = api.serving.plane.registry.ownBundle.x509Authorities.map(certificateToPem).join('');
  const own = shown && {
    key: Buffer.from(shown.key.export({ type: 'pkcs8', format: 'pem' })),
    chain: Buffer.from(shown.chain.map((der) => certificateToPem(Buffer.from(der))).join('')),
  };
  const tls = credentials.createSsl(Buffer.from(roots), own?.key ?? null, own?.chain ?? null, {
    checkServerIdentity: () => undefined,
  });
  return new Client(`127.0.0.1:${api.serving.port}`, tls, {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.ssl_target_name_override': 'interlock-server',
  });
}

/** The status of a call that sends an empty message, and then nothing more. */
async function statusOf(path: string, client: Client): Promise<string> {
  const bytes = (data: Buffer) => data;
  const code = await new Promise<number>((resolve) => {
    const call = client.makeBidiStreamRequest(path, bytes, bytes);
    call.on('data', () => {});
    call.on('error', () => {});
    call.on('status', (ended) => resolve(ended.code));
    call.write(Buffer.from(MESSAGES[path] ?? []));
    call.end();
  });
  return status[code] ?? String(code);
}

const AGENTS = '/interlock.agent.v1.AgentService';
const DISCOVERY = '/envoy.service.discovery.v3.AggregatedDiscoveryService';
const NOBODY = 'UNAUTHENTICATED';
const NO = 'PERMISSION_DENIED';
/** The caller may, and has said nothing that makes sense. */
const MAY = 'INVALID_ARGUMENT';
/** Who shows nothing, or what is not good here, gets nowhere. */
const STRANGERS = {
  nobody: NOBODY,
  'other trust domain': NOBODY,
  'revoked workload': NOBODY,
  'evicted agent': NOBODY,
};
/** Whoever has an SVID may connect; what it may enforce and report is asked with the first message. */
const PROXIES = { ...STRANGERS, workload: MAY, agent: MAY, child: MAY };

/** Method and caller to status. */
const TABLE: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  // The way in: what is shown here is the evidence in the message.
  [`${AGENTS}/Attest`]: {
    nobody: MAY,
    workload: MAY,
    agent: MAY,
    child: MAY,
    'other trust domain': MAY,
    'revoked workload': MAY,
    'evicted agent': MAY,
  },
  [`${AGENTS}/Connect`]: { ...STRANGERS, workload: NO, agent: MAY, child: MAY },
  [`${AGENTS}/SignAuthority`]: { ...STRANGERS, workload: NO, agent: NO, child: MAY },
  [`${AGENTS}/SignChildJwt`]: { ...STRANGERS, workload: NO, agent: NO, child: MAY },
  // Of a trust domain that no rule gives to this child either.
  [`${AGENTS}/PublishBundle`]: { ...STRANGERS, workload: NO, agent: NO, child: NO },
  // An empty message takes nothing back, which a child may.
  [`${AGENTS}/PublishRevocations`]: { ...STRANGERS, workload: NO, agent: NO, child: 'OK' },
  '/interlock.proxy.v1.ProxyService/Connect': { ...STRANGERS, workload: 'OK', agent: 'OK', child: 'OK' },
  [`${DISCOVERY}/StreamAggregatedResources`]: PROXIES,
  [`${DISCOVERY}/DeltaAggregatedResources`]: PROXIES,
  '/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs': PROXIES,
};

/** What is sent, where an empty message would be refused before it is asked who sends it. */
const MESSAGES: Readonly<Record<string, Uint8Array>> = {
  [`${AGENTS}/PublishBundle`]: toBinary(
    PublishBundleRequestSchema,
    create(PublishBundleRequestSchema, { bundle: { trustDomain: 'area.example', jwks: Buffer.from('{}') } }),
  ),
};

test('every method of the running control plane has a row here', () => {
  expect([...methods].toSorted()).toEqual(Object.keys(TABLE).toSorted());
});

describe.each(Object.keys(TABLE))('%s', (path) => {
  test.each(CALLERS)('called by %s', async (name) => {
    const client = clientOf(callers.get(name));
    expect(await statusOf(path, client)).toBe(TABLE[path]?.[name]);
    client.close();
  });
});

test('whoever is revoked gets nowhere on a connection that was open before either', async () => {
  const { revoking } = api.serving.plane;
  const late = parseSpiffeId('spiffe://example.org/ns/shop/sa/late');
  const paths = Object.keys(TABLE).filter((path) => !path.endsWith('/Attest'));
  const child = clientOf(callers.get('child'));
  const web = clientOf(await workload(api.serving.plane, late));
  const who = (path: string) => (path.startsWith(AGENTS) ? child : web);
  const before = [];
  for (const path of paths) before.push(await statusOf(path, who(path)));
  expect(before).not.toContain(NOBODY);
  await revoking.revokeId('test', agentId('child'), 'gone');
  await revoking.revokeId('test', late, 'gone');
  const after = [];
  for (const path of paths) after.push(await statusOf(path, who(path)));
  expect(after).toEqual(paths.map(() => NOBODY));
  child.close();
  web.close();
});

import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalJWKSet, type JWTPayload, jwtVerify } from 'jose';
import {
  MINUTE,
  NOW,
  tokenIssuer,
  usedTokens,
  context,
} from '../../identity/attestation/example.test-helper.ts';
import { rootOf, svidOf } from '../../identity/bundle/authorities.test-helper.ts';
import { certificateToPem, exportPkcs8 } from '../../identity/index.ts';
import { attestorsFrom } from './config.ts';

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void | Promise<void>;

/** An HTTPS server on localhost with an authority of its own, and files for the tests beside it. */
export async function httpsServer(handle: Handler) {
  const dir = mkdtempSync(join(tmpdir(), 'attestors-'));
  const root = rootOf('tls.example', Date.now());
  const served = svidOf('spiffe://tls.example/server', root, Date.now(), ['localhost']);
  const server = createServer(
    {
      cert: certificateToPem(served.der),
      key:
        exportPkcs8(served.key).toString('base64').replace(/^/, '-----BEGIN PRIVATE KEY-----\n') +
        '\n-----END PRIVATE KEY-----\n',
    },
    (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => void handle(request, response, Buffer.concat(chunks).toString()));
    },
  );
  server.listen(0, 'localhost');
  await once(server, 'listening');
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  return {
    url: `https://localhost:${(server.address() as AddressInfo).port}`,
    caFile: file('ca.crt', certificateToPem(root.der)),
    file,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export const json = (response: ServerResponse, status: number, data: object) => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(data));
};

export const ISSUER = 'https://kubernetes.default.svc.cluster.local';

/** The claims of a token as Kubernetes 1.34 projects it into a pod (test/interop/kubernetes.ts has it made by a real one). */
export const projected = (now = NOW) => ({
  aud: ['interlock'],
  exp: now / 1000 + 3607,
  iat: now / 1000,
  iss: ISSUER,
  jti: '5d4c2f0e-6d0b-4b8e-9f6e-2a1f3e7d9c10',
  'kubernetes.io': {
    namespace: 'interlock',
    node: { name: 'ip-10-0-3-7.eu-west-1.compute.internal', uid: '3f0f2d4c-8b7a-4b7b-9d0c-5b1f6f0a2c11' },
    pod: { name: 'agent-x7k2p', uid: '0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d' },
    serviceaccount: { name: 'agent', uid: 'b7e6d5c4-3a2b-4c1d-8e9f-0a1b2c3d4e5f' },
  },
  nbf: now / 1000,
  sub: 'system:serviceaccount:interlock:agent',
});

type Own = ReturnType<typeof projected>['kubernetes.io'];

/** What an API server does instead of answering as it should. */
export type Trouble =
  | number
  | 'silent'
  | 'dripping'
  | 'huge'
  | 'garbage'
  | 'cut'
  | 'redirect'
  | 'status'
  | 'empty';

const REVIEWS = '/apis/authentication.k8s.io/v1/tokenreviews';
/** Of an account with the role system:auth-delegator, and of one without. */
export const OWN_TOKEN = 'own-token';
export const POWERLESS_TOKEN = 'powerless-token';

// Made once: RSA keys take long.
const clusterKeyPair = tokenIssuer(ISSUER, 'RS256', 'jRn9kK');

/** Answers as kube-apiserver does: see its authentication and TokenReview API. */
export async function apiServer() {
  const keys = await clusterKeyPair;
  const state = {
    now: NOW,
    trouble: undefined as Trouble | undefined,
    deleted: new Set<string>(),
    asked: [] as string[],
  };
  const server = await httpsServer(async (request, response, body) => {
    state.asked.push(`${request.method} ${request.url}`);
    if (state.trouble !== undefined) return makeTrouble(state.trouble, response, server.url);
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    if (bearer !== OWN_TOKEN && bearer !== POWERLESS_TOKEN) return fail(response, 401, 'Unauthorized');
    if (bearer === POWERLESS_TOKEN) return fail(response, 403, 'Forbidden');
    if (request.url === '/openid/v1/jwks' && !request.headers.accept?.includes('application/jwk-set+json'))
      return fail(response, 406, 'NotAcceptable');
    if (request.url === '/openid/v1/jwks') return json(response, 200, keys.jwks);
    if (request.url !== REVIEWS) return fail(response, 404, 'NotFound');
    if (request.method !== 'POST') return fail(response, 405, 'MethodNotAllowed');
    if (request.headers['content-type'] !== 'application/json')
      return fail(response, 415, 'UnsupportedMediaType');
    const review = JSON.parse(body) as {
      apiVersion?: string;
      kind?: string;
      spec?: { token?: string; audiences?: string[] };
    };
    if (
      review.apiVersion !== 'authentication.k8s.io/v1' ||
      review.kind !== 'TokenReview' ||
      !review.spec?.token
    )
      return fail(response, 400, 'BadRequest');
    const status = await statusOf(review.spec.token, review.spec.audiences ?? [ISSUER]);
    json(response, 201, {
      kind: review.kind,
      apiVersion: review.apiVersion,
      metadata: {},
      spec: review.spec,
      status,
    });
  });

  async function statusOf(token: string, audiences: readonly string[]): Promise<object> {
    const refused = (why: string) => ({ user: {}, error: `[invalid bearer token, ${why}]` });
    let payload: JWTPayload;
    try {
      ({ payload } = await jwtVerify(token, createLocalJWKSet(keys.jwks), {
        currentDate: new Date(state.now),
      }));
    } catch (error) {
      return refused(String(error).includes('"exp"') ? 'service account token has expired' : 'no such key');
    }
    const both = audiences.filter((one) => [payload.aud].flat().includes(one));
    if (both.length === 0)
      return refused(
        `token audiences ${JSON.stringify(payload.aud)} is invalid for the target audiences ${JSON.stringify(audiences)}`,
      );
    // What the stand-in signed itself.
    const own = payload['kubernetes.io'] as Partial<Own> & Pick<Own, 'namespace' | 'serviceaccount'>;
    if (own.pod !== undefined && state.deleted.has(own.pod.name))
      return refused('service account token has been invalidated');
    const extra = (name: string, value: string) => ({ [`authentication.kubernetes.io/${name}`]: [value] });
    return {
      authenticated: true,
      user: {
        username: `system:serviceaccount:${own.namespace}:${own.serviceaccount.name}`,
        uid: own.serviceaccount.uid,
        groups: ['system:serviceaccounts', `system:serviceaccounts:${own.namespace}`, 'system:authenticated'],
        extra: {
          ...extra('credential-id', `JTI=${payload.jti}`),
          ...(own.node && { ...extra('node-name', own.node.name), ...extra('node-uid', own.node.uid) }),
          ...(own.pod && { ...extra('pod-name', own.pod.name), ...extra('pod-uid', own.pod.uid) }),
        },
      },
      audiences: both,
    };
  }

  return { ...server, state, keys, tokenFile: server.file('token', `${OWN_TOKEN}\n`) };
}

function fail(response: ServerResponse, code: number, reason: string): void {
  json(response, code, {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: reason,
    reason,
    code,
  });
}

function makeTrouble(trouble: Trouble, response: ServerResponse, url: string): void {
  if (typeof trouble === 'number') return fail(response, trouble, 'because');
  if (trouble === 'status') return fail(response, 200, 'because');
  if (trouble === 'empty') return json(response, 201, {});
  if (trouble === 'redirect') return void response.writeHead(307, { location: `${url}${REVIEWS}` }).end();
  if (trouble === 'garbage') return void response.writeHead(201).end('<html>');
  if (trouble === 'silent') return;
  response.writeHead(201, { 'content-length': 100_000_000 });
  if (trouble === 'cut') return void response.write('{', () => response.destroy());
  const more = () =>
    response.write(trouble === 'huge' ? Buffer.alloc(65_536, 0x20) : ' ', () => setTimeout(more, 2));
  more();
}

/** The attestors of a configuration, with a clock and a memory for used tokens. */
export function configured(config: object, clock: { now: number } = { now: NOW }) {
  const [attestor] = attestorsFrom(
    JSON.stringify(config),
    'attestors.yaml',
  )({
    used: usedTokens(),
    timers: { now: () => clock.now, after: () => () => undefined, random: () => 0.5 },
  });
  if (attestor === undefined) throw new Error('no attestor');
  return (payload: string | object) =>
    attestor.attest(
      Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)),
      context(clock.now),
    );
}

export { MINUTE, NOW, tokenIssuer };

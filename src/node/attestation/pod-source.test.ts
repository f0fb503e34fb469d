import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { webcrypto } from 'node:crypto';
import {
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '../../identity/x509/peculiar.test-helper.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PodList, type PodListOptions } from './index.ts';
import { findContainer } from './pod-source.ts';
import { parsePods } from './pods.ts';

const UID = '0a1b2c3d-1111-2222-3333-0123456789ab';
const ID = '1f'.repeat(32);
const pod = (uid: string, id: string, metadata: object = {}) => ({
  metadata: {
    uid,
    name: 'web-5d4f-x',
    namespace: 'shop',
    labels: { team: 'pay', ['__proto__']: 'no' },
    ownerReferences: [{ kind: 'ReplicaSet', name: 'web-5d4f' }, { kind: 7 }],
    ...metadata,
  },
  spec: { serviceAccountName: 'web', nodeName: 'node-1' },
  status: {
    containerStatuses: [
      { name: 'app', containerID: `containerd://${id}`, image: 'web:1', imageID: 'sha256:77' },
      { name: 'late', image: 'late:1' },
    ],
  },
});
const podList = (...items: unknown[]) => JSON.stringify({ kind: 'PodList', items });

describe('a list of pods', () => {
  it('gives the pods with what rules see of them', () => {
    expect(parsePods(podList(pod(UID, ID)))).toEqual([
      {
        uid: UID,
        name: 'web-5d4f-x',
        namespace: 'shop',
        serviceAccount: 'web',
        nodeName: 'node-1',
        labels: expect.objectContaining({ team: 'pay' }),
        owners: ['ReplicaSet:web-5d4f'],
        containers: [
          { name: 'app', id: ID, image: 'web:1', imageId: 'sha256:77' },
          { name: 'late', image: 'late:1' },
        ],
      },
    ]);
  });

  it('leaves out what is no pod, and takes no field from a prototype', () => {
    const items = [
      null,
      7,
      'x',
      {},
      { metadata: { uid: UID } },
      { metadata: [] },
      JSON.parse('{"__proto__":{"metadata":{}}}'),
    ];
    expect(parsePods(podList(...items, pod(UID, ID)))).toHaveLength(1);
    const [{ labels } = { labels: {} }] = parsePods(podList(pod(UID, ID)));
    expect(Object.getPrototypeOf(labels)).toBe(null);
  });

  it('is empty when it has no items, and refused when it is something else', () => {
    expect(parsePods('{"kind":"PodList","items":null}')).toEqual([]);
    for (const text of ['', '[', '7', 'null', '{"items":{}}', '{"kind":"Status"}']) {
      expect(() => parsePods(text), text).toThrow('the list of pods');
    }
    expect(() => parsePods(podList(...Array.from({ length: 5001 }, () => 0)))).toThrow('longer than 5000');
  });
});

describe('a container', () => {
  const pods = parsePods(
    podList(
      pod(UID, ID),
      pod('api-server-uid', '2e'.repeat(32), {
        annotations: { 'kubernetes.io/config.mirror': 'ab'.repeat(16) },
      }),
    ),
  );
  it('is found by its ID in the pod of the cgroup', () => {
    expect(findContainer(pods, { podUid: UID, containerId: ID })?.container.name).toBe('app');
    expect(findContainer(pods, { containerId: ID })?.pod.uid).toBe(UID);
  });
  it('is found in a static pod under the UID that the node knows', () => {
    expect(findContainer(pods, { podUid: 'ab'.repeat(16), containerId: '2e'.repeat(32) })?.pod.uid).toBe(
      'api-server-uid',
    );
  });
  it('is not found with an ID of another pod, a name of nobody, or nothing at all', () => {
    expect(findContainer(pods, { podUid: UID, containerId: '2e'.repeat(32) })).toBeUndefined();
    expect(findContainer(pods, { podUid: 'other', containerId: ID })).toBeUndefined();
    expect(findContainer(pods, { podUid: UID })).toBeUndefined();
    expect(findContainer(pods, { containerName: 'app' })).toBeUndefined();
    expect(findContainer(pods, { podUid: UID, containerName: 'app' })?.container.id).toBe(ID);
  });
});

describe('the list of pods over HTTPS', () => {
  const dir = mkdtempSync(join(tmpdir(), 'kubelet-'));
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  let server: Server;
  let options: PodListOptions;
  let answer: { status: number; body: string };
  let requests: (string | undefined)[];
  let clock: number;

  beforeAll(async () => {
    const { certificate, key } = await selfSigned();
    const tokenFile = file('token', 'secret-1\n');
    server = createServer({ cert: certificate, key }, (request, response) => {
      requests.push(`${request.url} ${request.headers.authorization}`);
      response.writeHead(answer.status).end(answer.body);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    options = {
      url: `https://127.0.0.1:${port}/pods`,
      tokenFile,
      caFile: file('ca.pem', certificate),
      now: () => clock,
    };
  });
  afterAll(() => {
    server.close();
    rmSync(dir, { recursive: true, force: true });
  });
  const fresh = (more: Partial<PodListOptions> = {}) => {
    answer = { status: 200, body: podList(pod(UID, ID)) };
    requests = [];
    clock = 1_000_000;
    return new PodList({ ...options, wait: () => Promise.reject(new Error('waited')), ...more });
  };

  it('is asked for once with the token, however many look for a container', async () => {
    const pods = fresh();
    const found = await Promise.all(
      Array.from({ length: 10 }, () => pods.find({ podUid: UID, containerId: ID })),
    );
    expect(found.map((one) => one?.pod.name)).toEqual(Array.from({ length: 10 }, () => 'web-5d4f-x'));
    expect(requests).toEqual(['/pods Bearer secret-1']);
  });

  it('is asked for again after a while, with the token of that time', async () => {
    const pods = fresh();
    await pods.find({ podUid: UID, containerId: ID });
    file('token', 'secret-2');
    clock += 4999;
    await pods.find({ podUid: UID, containerId: ID });
    expect(requests).toHaveLength(1);
    clock += 1;
    await pods.find({ podUid: UID, containerId: ID });
    expect(requests).toEqual(['/pods Bearer secret-1', '/pods Bearer secret-2']);
    file('token', 'secret-1\n');
  });

  it('is looked through again until a pod appears that is late', async () => {
    const pods = fresh({
      wait: async (ms) => {
        expect(ms).toBe(500);
        clock += ms;
        if (requests.length === 3) answer = { status: 200, body: podList(pod(UID, ID)) };
      },
    });
    answer = { status: 200, body: podList() };
    expect((await pods.find({ podUid: UID, containerId: ID }))?.container.name).toBe('app');
    expect(requests).toHaveLength(4);
  });

  it('is given up after 20 more looks, or at once where no pod is known', async () => {
    const pods = fresh({ wait: async () => undefined });
    answer = { status: 200, body: podList() };
    expect(await pods.find({ podUid: UID, containerId: ID })).toBeUndefined();
    expect(requests).toHaveLength(21);
    requests = [];
    expect(await pods.find({ containerId: ID })).toBeUndefined();
    expect(requests).toHaveLength(1);
  });

  it('is asked for four times a second at most, whoever looks for a container that no list has', async () => {
    const waits: number[] = [];
    const pods = fresh({
      wait: async (ms) => {
        waits.push(ms);
        clock += ms;
      },
    });
    answer = { status: 200, body: podList() };
    for (let i = 0; i < 5; i++) await pods.find({ containerId: ID });
    answer = { status: 500, body: '' };
    await expect(pods.find({ containerId: ID })).rejects.toMatchObject({ code: 'unavailable' });
    await expect(pods.find({ containerId: ID })).rejects.toMatchObject({ code: 'unavailable' });
    expect(waits).toEqual([250, 250, 250, 250, 250, 250]);
  });

  it.each([
    [401, '', 'forbidden', 'refuses the agent: its answer was 401'],
    [403, '', 'forbidden', 'refuses the agent: its answer was 403'],
    [500, '', 'unavailable', 'answered 500'],
    [301, '', 'unavailable', 'answered 301'],
    [200, 'x', 'invalid_document', 'is not JSON'],
  ])('says so when the answer is %i %j', async (code, body, errorCode, reason) => {
    const pods = fresh();
    answer = { status: code, body };
    const failure = await pods.find({ podUid: UID, containerId: ID }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: errorCode, message: expect.stringContaining(reason) });
    expect(String(failure)).not.toContain('secret');
  });

  it('is not asked for, and no token sent, when the certificate is of an unknown authority', async () => {
    const { certificate } = await selfSigned();
    const pods = fresh({ caFile: file('other.pem', certificate) });
    await expect(pods.find({ podUid: UID, containerId: ID })).rejects.toMatchObject({ code: 'unavailable' });
    expect(requests).toEqual([]);
  });

  it('takes any certificate only when told to, and only on this machine', async () => {
    const { caFile, ...unchecked } = options;
    const pods = fresh();
    expect(caFile).toBeDefined();
    expect(await new PodList({ ...unchecked, verify: false }).find({ containerId: ID })).toBeDefined();
    await expect(new PodList(unchecked).find({ containerId: ID })).rejects.toMatchObject({
      code: 'unavailable',
    });
    expect(() => new PodList({ ...options, url: 'https://10.0.0.1:10250/pods', verify: false })).toThrow(
      'is another machine',
    );
    expect(() => new PodList({ ...options, url: 'http://127.0.0.1:10255/pods' })).toThrow(
      'is no https:// address',
    );
    expect(pods).toBeDefined();
  });

  it('may have another name in its certificate than its address, when told so', async () => {
    const { port } = new URL(options.url);
    const url = `https://localhost:${port}/pods`;
    await expect(fresh({ url }).find({ containerId: ID })).rejects.toMatchObject({ code: 'unavailable' });
    expect(await fresh({ serverName: 'node-1' }).find({ containerId: ID })).toBeDefined();
    await expect(fresh({ serverName: 'node-2' }).find({ containerId: ID })).rejects.toMatchObject({
      code: 'unavailable',
    });
  });

  it('says which file is missing', async () => {
    const pods = fresh({ tokenFile: join(dir, 'none') });
    await expect(pods.find({ containerId: ID })).rejects.toMatchObject({
      code: 'unavailable',
      message: `${join(dir, 'none')} cannot be read`,
    });
  });

  it('says that nobody answers', async () => {
    const pods = fresh({ url: 'https://127.0.0.1:1/pods' });
    await expect(pods.find({ containerId: ID })).rejects.toMatchObject({
      code: 'unavailable',
      message: 'the list of pods at 127.0.0.1:1 cannot be asked (ECONNREFUSED)',
    });
  });
});

async function selfSigned(): Promise<{ certificate: string; key: string }> {
  const keys = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ]);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: '01',
      name: 'CN=kubelet',
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + 3_600_000),
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      keys,
      extensions: [
        new SubjectAlternativeNameExtension([
          { type: 'ip', value: '127.0.0.1' },
          { type: 'dns', value: 'node-1' },
        ]),
      ],
    },
    webcrypto,
  );
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  return {
    certificate: certificate.toString('pem'),
    key: `-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n`,
  };
}

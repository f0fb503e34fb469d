import { existsSync, mkdirSync, rmdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Checks, expectSame, expectThat } from './checks.ts';
import { Child, until } from './children.ts';
import type { Domain } from './domain.ts';
import { CLUSTER_ISSUER, type KubernetesApi, type KubernetesObject } from './kubernetes-api.ts';

const ID = 'c0ffee'.repeat(10) + 'abcd';
const WORKLOAD = fileURLToPath(new URL('./print-svid.ts', import.meta.url));
/** Where cgroup v2 is mounted: alone, or beside v1. */
const CGROUPS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((root) =>
  existsSync(join(root, 'cgroup.controllers')),
);

export interface ClusterScene {
  readonly checks: Checks;
  readonly api: KubernetesApi;
  readonly plane: Domain;
}

/** The namespaces, accounts, rights and pods of a small cluster; the pods run nowhere. */
export async function setUpCluster(api: KubernetesApi) {
  for (const name of ['interlock', 'shop']) await api.create('/api/v1/namespaces', { metadata: { name } });
  for (const account of [
    'interlock/agent',
    'interlock/plane',
    'interlock/powerless',
    'shop/web',
    'shop/agent',
  ]) {
    const [namespace, name] = account.split('/');
    await api.create(`/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name } });
  }
  await bind(api, 'reviews', 'system:auth-delegator', 'plane');
  await api.create('/apis/rbac.authorization.k8s.io/v1/clusterroles', {
    metadata: { name: 'pods-of-a-node' },
    rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['list'] }],
  });
  await bind(api, 'pods', 'pods-of-a-node', 'agent');
  await api.create('/api/v1/nodes', { metadata: { name: 'node-1' } });
  return {
    agent: await podOf(api, 'interlock', 'agent-x7k2p', 'agent'),
    web: await podOf(api, 'shop', 'web-5d4f-abcde', 'web', { team: 'pay' }),
    impostor: await podOf(api, 'shop', 'impostor', 'agent'),
  };
}

function bind(api: KubernetesApi, name: string, role: string, account: string): Promise<KubernetesObject> {
  return api.create('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
    subjects: [{ kind: 'ServiceAccount', name: account, namespace: 'interlock' }],
  });
}

function podOf(api: KubernetesApi, namespace: string, name: string, account: string, labels = {}) {
  return api.create(`/api/v1/namespaces/${namespace}/pods`, {
    metadata: { name, labels },
    spec: {
      serviceAccountName: account,
      nodeName: 'node-1',
      containers: [{ name: 'app', image: 'registry.example/app:1' }],
    },
  });
}

/** The control plane's file of attestors: the same cluster, judged in each way. */
export async function attestorsFile(api: KubernetesApi): Promise<string> {
  const server = async (account: string) => ({
    url: api.url,
    caFile: api.caFile,
    tokenFile: api.file(`${account}.token`, await api.token(`interlock:${account}`, [])),
  });
  const common = { serviceAccounts: ['interlock:agent'] };
  const keys = { ...common, issuer: CLUSTER_ISSUER };
  const clusters = [
    { ...common, name: 'review', apiServer: await server('plane') },
    { ...common, name: 'powerless', apiServer: await server('powerless') },
    { ...keys, name: 'fetched', keysFrom: await server('plane') },
    { ...keys, name: 'given', jwks: await api.get('/openid/v1/jwks') },
  ];
  return api.file('attestors.yaml', JSON.stringify({ k8s_psat: clusters }));
}

/** Whether an agent with this token becomes one: its name, or why it is refused. */
export async function attest(
  { api, plane }: ClusterScene,
  cluster: string,
  token: string,
  ...more: string[]
) {
  const file = api.file('agent.token', token);
  const bundle = api.file('plane.pem', await plane.interlock('authority', 'bundle'));
  const name = `agent-${cluster}-${(attempts += 1)}`;
  const proof = [
    '--attest',
    'kubernetes',
    '--cluster',
    cluster,
    '--token-file',
    file,
    '--trust-bundle',
    bundle,
  ];
  const agent = await plane.startOther(name, ...proof, ...more);
  return agent.line((line) => {
    if (line.includes('"msg":"connected to the control plane"')) return 'connected';
    return /not accepted|does not answer for/.test(line) ? line : undefined;
  });
}
let attempts = 0;

/** Node attestation, in each way. */
export async function checkNode(
  scene: ClusterScene,
  pods: Awaited<ReturnType<typeof setUpCluster>>,
): Promise<void> {
  const { checks, api, plane } = scene;
  const bound = () => api.token('interlock:agent', ['interlock'], pods.agent);
  for (const cluster of ['review', 'fetched', 'given'])
    await checks.check(`a bound token makes the agent of its node (${cluster})`, async () => {
      expectSame('the outcome', await attest(scene, cluster, await bound()), 'connected');
      const { agents } = JSON.parse(await plane.interlock('authority', 'agents', '--json')) as {
        agents: { id: string; attributes: object }[];
      };
      const id = `spiffe://${plane.name}/interlock/agent/k8s_psat/${cluster}/node/node-1`;
      const found = agents.find((agent) => agent.id === id);
      expectThat(found !== undefined, `no agent ${id}`);
      expectThat(JSON.stringify(found).includes(pods.agent.metadata.uid), `it lacks the pod's UID`);
      return id;
    });
  const refusals: [string, string, () => Promise<string>, RegExp][] = [
    [
      'for the API server',
      'review',
      () => api.token('interlock:agent', [], pods.agent),
      /does not accept it for/,
    ],
    ['for the API server', 'fetched', () => api.token('interlock:agent', [], pods.agent), /is meant for/],
    ['without a pod', 'review', () => api.token('interlock:agent', ['interlock']), /not bound to a pod/],
    ['without a pod', 'fetched', () => api.token('interlock:agent', ['interlock']), /not bound to a pod/],
    [
      'of the same name in another namespace',
      'review',
      () => api.token('shop:agent', ['interlock'], pods.impostor),
      /shop:agent is not among/,
    ],
    [
      'of the same name in another namespace',
      'given',
      () => api.token('shop:agent', ['interlock'], pods.impostor),
      /shop:agent is not among/,
    ],
    ['with a changed signature', 'review', async () => spoilt(await bound()), /does not accept it for/],
    ['with a changed signature', 'fetched', async () => spoilt(await bound()), /signature is not/],
    ['where the control plane may not review', 'powerless', bound, /does not answer for its tokens/],
  ];
  for (const [what, cluster, token, reason] of refusals)
    await checks.check(`a token ${what} is refused (${cluster})`, async () => {
      const said = await attest(scene, cluster, await token());
      expectThat(reason.test(said), said);
      // A line of the agent's log.
      return (JSON.parse(said) as { error: { message: string } }).error.message;
    });
}

/** A token of a pod that is gone: last, since the pod is deleted. */
export async function checkDeleted(scene: ClusterScene, pod: KubernetesObject): Promise<void> {
  const { checks, api } = scene;
  const token = await api.token('interlock:agent', ['interlock'], pod);
  await api.remove(`/api/v1/namespaces/interlock/pods/${pod.metadata.name}`);
  await checks.check('the token of a deleted pod is refused (review)', async () => {
    // The API server looks pods up in a cache that follows etcd.
    const said = await until(async () => {
      const outcome = await attest(scene, 'review', token);
      return outcome === 'connected' ? undefined : outcome;
    });
    expectThat(/does not accept it/.test(said), said);
    return 'refused';
  });
  await checks.check('the token of a deleted pod is still good by keys, to its end (given)', async () =>
    attest(scene, 'given', token),
  );
}

/** A process in a cgroup named as containerd names it, known by the API server's list of pods. */
export async function checkWorkload(
  scene: ClusterScene,
  pods: Awaited<ReturnType<typeof setUpCluster>>,
): Promise<void> {
  const { checks, api, plane } = scene;
  const name = 'a process in the cgroup of a container gets the identity of its pod';
  if (CGROUPS === undefined) return checks.leaveOut(name, 'cgroup v2 is not mounted here');
  if (['kubepods', 'kubepods.slice'].some((own) => existsSync(join(CGROUPS, own))))
    return checks.leaveOut(name, 'this machine is a node of a cluster');
  await plane.rules([
    'pods',
    { spiffeId: '/ns/{k8s.namespace}/sa/{k8s.service_account}', when: "k8s.labels['team'] == 'pay'" },
  ]);
  await api.setStatus('/api/v1/namespaces/shop/pods/web-5d4f-abcde', {
    phase: 'Running',
    containerStatuses: [
      {
        name: 'app',
        containerID: `containerd://${ID}`,
        image: 'registry.example/app:1',
        imageID: 'registry.example/app@sha256:77',
        ready: true,
        restartCount: 0,
        state: { running: { startedAt: '2026-11-21T05:00:00Z' } },
      },
    ],
  });
  const podsUrl = `${api.url}/api/v1/pods?fieldSelector=spec.nodeName=node-1`;
  const podsToken = api.file('pods.token', await api.token('interlock:agent', []));
  const bound = await api.token('interlock:agent', ['interlock'], pods.agent);
  await attest(scene, 'review', bound, '--pods', podsUrl, '--pods-token', podsToken, '--pods-ca', api.caFile);
  const uid = pods.web.metadata.uid;
  const slice = `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${uid.replaceAll('-', '_')}.slice`;
  for (const [runtime, driver, path] of [
    ['containerd', 'systemd', `${slice}/cri-containerd-${ID}.scope`],
    ['containerd', 'cgroupfs', `kubepods/burstable/pod${uid}/${ID}`],
    ['CRI-O', 'systemd', `${slice}/crio-${ID}.scope`],
    ['CRI-O', 'cgroupfs', `kubepods/burstable/pod${uid}/crio-${ID}`],
  ] as const)
    await checks.check(`${name} (${runtime}, ${driver} driver)`, () => inCgroup(CGROUPS, path, plane.socket));
  await checks.check('a process in such a cgroup below one of its own gets nothing', async () => {
    const said = await inCgroup(
      CGROUPS,
      `interlock-test/${slice}/cri-containerd-${ID}.scope`,
      plane.socket,
      /^refused/,
    );
    return said.replace(/^refused: .*\.sock: /, '');
  });
  await checks.check('a process in no container gets nothing', async () =>
    (await printed(plane.socket, (run) => run, /^refused/)).replace(/^refused: .*\.sock: /, ''),
  );
}

const IDENTITY = /^spiffe:\/\/cluster\.test\/ns\/shop\/sa\/web$/;

/** What a workload in this cgroup says, which is made for it and taken away again. */
async function inCgroup(root: string, path: string, socket: string, expected = IDENTITY): Promise<string> {
  const whole = join(root, path);
  mkdirSync(whole, { recursive: true });
  try {
    return await printed(socket, (run) => `echo $$ > ${whole}/cgroup.procs && ${run}`, expected);
  } finally {
    await until(async () => {
      try {
        for (let at = path; at !== '.'; at = dirname(at)) rmdirSync(join(root, at));
        return true;
      } catch (error) {
        return error instanceof Error && 'code' in error && error.code === 'ENOENT' ? true : undefined;
      }
    });
  }
}

async function printed(socket: string, within: (run: string) => string, expected: RegExp): Promise<string> {
  const run = within(`exec ${process.execPath} ${WORKLOAD} ${socket}`);
  const child = new Child({ command: '/bin/sh', args: ['-c', run] });
  try {
    return await child.line((line) => (expected.test(line) ? line : undefined));
  } finally {
    await child.stop();
  }
}

/** Changes one bit in the middle of the signature. */
function spoilt(token: string): string {
  const at = token.length - 100;
  return `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`;
}

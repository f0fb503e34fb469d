/**
 * Attests nodes and workloads against a real Kubernetes API server (with its etcd in one process, test/interop/go-kubernetes):
 * service-account tokens that it made, judged by its TokenReview and by its keys, and pods from its list. There is no
 * kubelet: pods are objects only, and the cgroup of a container is made by hand. Run it as root on Linux with Go:
 * `node test/interop/kubernetes.ts [--write]`. With --write the table goes into docs/interop.md. The first run builds
 * the API server from the Go module proxy into INTEROP_CACHE, which takes ten minutes.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeSection } from './document.ts';
import { Checks, tableOf } from './identity/checks.ts';
import { Domain } from './identity/domain.ts';
import { KubernetesApi } from './identity/kubernetes-api.ts';
import {
  attestorsFile,
  checkDeleted,
  checkNode,
  checkWorkload,
  setUpCluster,
} from './identity/kubernetes-checks.ts';
import { installKubernetesApi, KUBERNETES_VERSION } from './identity/tools.ts';

if (process.platform !== 'linux' || process.getuid?.() !== 0) {
  console.log('This needs Linux and root: it makes cgroups.');
  process.exit(2);
}
const installed = installKubernetesApi();
if ('missing' in installed) {
  console.log(`The API server: ${installed.missing}`);
  process.exit(2);
}
const dir = mkdtempSync(join(tmpdir(), 'interlock-kubernetes-'));
const plane = new Domain(dir, 'cluster.test');
const checks = new Checks();
const api = await KubernetesApi.start(join(dir, 'cluster'), installed.bin);
try {
  const pods = await setUpCluster(api);
  await plane.serve('--attestors', await attestorsFile(api));
  const scene = { checks, api, plane };
  checks.group('node');
  await checkNode(scene, pods);
  checks.group('workload');
  await checkWorkload(scene, pods);
  checks.group('pod');
  await checkDeleted(scene, pods.agent);
} finally {
  await plane.stop();
  await api.stop();
  rmSync(dir, { recursive: true, force: true });
}
const left = checks.rows.filter(({ outcome }) => outcome === 'left out').length;
console.log(`\n${checks.rows.length} checks, ${checks.failed} failed, ${left} left out`);
if (checks.failed > 0) process.exitCode = 1;
if (process.argv.includes('--write'))
  writeSection('kubernetes', {
    command: 'node test/interop/kubernetes.ts --write',
    versions: `kube-apiserver ${KUBERNETES_VERSION}`,
    text: tableOf(checks.rows),
  });

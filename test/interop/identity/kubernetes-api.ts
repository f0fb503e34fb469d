import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Child, until } from './children.ts';

/** The issuer that clusters have by default. */
export const CLUSTER_ISSUER = 'https://kubernetes.default.svc.cluster.local';
const ADMIN = 'admin-of-this-run';

/** An object of the API, as far as these checks read it. */
export interface KubernetesObject {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly status?: Readonly<Record<string, unknown>>;
}

/** A Kubernetes API server with an etcd of its own, as a process on the loopback interface. */
export class KubernetesApi {
  readonly #dir: string;
  readonly #process: Child;
  readonly url: string;

  private constructor(dir: string, process: Child, port: number) {
    this.#dir = dir;
    this.#process = process;
    this.url = `https://127.0.0.1:${port}`;
  }

  /** Its own authority's certificate. */
  get caFile(): string {
    return join(this.#dir, 'certs', 'apiserver.crt');
  }

  static async start(dir: string, bin: string): Promise<KubernetesApi> {
    mkdirSync(dir, { recursive: true });
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const key = join(dir, 'sa.key');
    writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    writeFileSync(join(dir, 'tokens.csv'), `${ADMIN},admin,admin,system:masters\n`, { mode: 0o600 });
    const [client, peer, port] = [await freePort(), await freePort(), await freePort()];
    const etcd = `http://127.0.0.1:${client}`;
    const process = new Child({
      command: bin,
      args: [
        join(dir, 'etcd'),
        etcd,
        `http://127.0.0.1:${peer}`,
        `--etcd-servers=${etcd}`,
        `--cert-dir=${join(dir, 'certs')}`,
        `--secure-port=${port}`,
        '--bind-address=127.0.0.1',
        '--advertise-address=127.0.0.1',
        '--service-cluster-ip-range=10.96.0.0/24',
        `--service-account-issuer=${CLUSTER_ISSUER}`,
        `--service-account-key-file=${key}`,
        `--service-account-signing-key-file=${key}`,
        `--token-auth-file=${join(dir, 'tokens.csv')}`,
        '--authorization-mode=Node,RBAC',
      ],
    });
    const api = new KubernetesApi(dir, process, port);
    await until(async () => {
      const ready = await api.#ask('GET', '/readyz').catch(() => undefined);
      return ready?.status === 200 ? true : undefined;
    });
    return api;
  }

  /** Creates an object. Throws with the server's words. */
  async create(path: string, object: object): Promise<KubernetesObject> {
    return this.#did('POST', path, object);
  }

  async remove(path: string): Promise<void> {
    await this.#did('DELETE', path, { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: 0 });
  }

  /** Sets what a kubelet would say of a pod. */
  async setStatus(path: string, status: object): Promise<KubernetesObject> {
    return this.#did('PATCH', `${path}/status`, { status });
  }

  async get(path: string): Promise<unknown> {
    return this.#did('GET', path);
  }

  /** A service account's token (TokenRequest), bound to a pod where one is given. */
  async token(account: string, audiences: readonly string[], pod?: KubernetesObject): Promise<string> {
    const [namespace, name] = account.split(':');
    const made = await this.#did('POST', `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`, {
      kind: 'TokenRequest',
      apiVersion: 'authentication.k8s.io/v1',
      spec: {
        audiences,
        expirationSeconds: 3600,
        ...(pod && {
          boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: pod.metadata.name, uid: pod.metadata.uid },
        }),
      },
    });
    return String(made.status?.['token']);
  }

  /** Writes a token into a file of this run. */
  file(name: string, text: string): string {
    const path = join(this.#dir, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  stop(): Promise<void> {
    return this.#process.stop();
  }

  async #did(method: string, path: string, body?: object): Promise<KubernetesObject> {
    const { status, text } = await this.#ask(method, path, body);
    if (status < 200 || status > 299) throw new Error(`${method} ${path}: ${status} ${text.slice(0, 300)}`);
    // The API server's own answer.
    return JSON.parse(text) as KubernetesObject;
  }

  async #ask(method: string, path: string, body?: object): Promise<{ status: number; text: string }> {
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
    const json = body === undefined ? '' : JSON.stringify(body);
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    const call = request(
      new URL(path, this.url),
      {
        method,
        ca: readFileSync(this.caFile, 'utf8'),
        headers: {
          authorization: `Bearer ${ADMIN}`,
          'content-type': type,
          'content-length': Buffer.byteLength(json),
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
        );
      },
    );
    call.on('error', reject);
    call.end(json);
    return promise;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port is free');
  return address.port;
}

import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { ServerCredentials } from '@grpc/grpc-js';
import type { SpiffeId } from '../../../src/access/index.ts';
import {
  type EnvoyInbound,
  type EnvoyOutbound,
  envoyResources,
} from '../../../src/engines/envoy/resources/index.ts';
import { certificateToPem } from '../../../src/identity/index.ts';
import { type AccessPolicy, readPolicies } from '../../../src/policy/index.ts';
import type { AuthenticationStage } from '../../../src/rollout/index.ts';
import type { X509Source, X509Svid } from '../../../src/workload/index.ts';
import { freePort } from '../ports.ts';
import { messagesOf, type Xds } from './xds.ts';

export const DOMAIN = 'interop.test';
export const id = (name: string) => `spiffe://${DOMAIN}/${name}` as SpiffeId;

/** The programs behind Envoy: none of them knows of it. */
export interface Programs {
  /** HTTP/1.1: answers with what it was sent. */
  readonly http: number;
  /** HTTP/2 in plain text, as gRPC servers speak it. */
  readonly grpc: number;
  /** Sends a greeting before anything is asked, then everything back. */
  readonly tcp: number;
  readonly close: () => Promise<void>;
}

export const GREETING = 'server speaks first\n';

export async function startPrograms(): Promise<Programs> {
  const http = createHttpServer((request, response) => {
    const { method, url: path, headers, httpVersion } = request;
    const body = JSON.stringify({ method, path, headers, httpVersion });
    response.setHeader('content-length', Buffer.byteLength(body));
    response.end(body);
  });
  http.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n');
    socket.pipe(socket);
  });
  const grpc = createHttp2Server((request, response) => {
    response.setHeader('content-type', 'application/grpc');
    response.end(request.url);
  });
  const tcp = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.write(GREETING);
    socket.pipe(socket);
  });
  const servers = [http, grpc, tcp] as Server[];
  const [a = 0, b = 0, c = 0] = await Promise.all(servers.map(portOf));
  const close = async () => {
    http.closeAllConnections();
    await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
  };
  return { http: a, grpc: b, tcp: c, close };
}

function portOf(server: Server): Promise<number> {
  return new Promise((resolve) => {
    // A server that listens on a TCP port has an address of this kind.
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

/** The ports of Envoy. */
export type Ports = Readonly<
  Record<'http' | 'grpc' | 'tcp' | 'first' | 'proxied' | 'out' | 'wrong' | 'outTcp', number>
>;

export async function freePorts(): Promise<Ports> {
  const names = ['http', 'grpc', 'tcp', 'first', 'proxied', 'out', 'wrong', 'outTcp'] as const;
  const pairs = await Promise.all(names.map(async (name) => [name, await freePort()] as const));
  // Every name is there.
  return Object.fromEntries(pairs) as Ports;
}

/** The policy: web may read, nobody may do anything below /no; the port that speaks TCP is for web alone. */
export const POLICIES: readonly AccessPolicy[] = readPolicies(
  JSON.stringify({
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'app' },
    spec: {
      protects: { workload: id('app') },
      rules: [
        { name: 'read', from: [{ workload: id('web') }], to: [{ http: { methods: ['GET'] }, ports: [80] }] },
        {
          name: 'self',
          from: [{ workload: id('app') }],
          to: [
            { http: {}, ports: [80] },
            { tcp: {}, ports: [6379] },
          ],
        },
        {
          name: 'rpc',
          from: [{ workload: id('web') }],
          to: [{ grpc: { service: 'shop.Cart' }, ports: [50051] }],
        },
        { name: 'bytes', from: [{ workload: id('web') }], to: [{ tcp: {}, ports: [6379, 3306] }] },
        {
          name: 'probe',
          from: [{ unauthenticated: { from: '127.9.0.0/16' } }],
          to: [{ http: { paths: ['/health'] } }],
        },
        {
          name: 'stated',
          from: [{ unauthenticated: { from: '10.20.0.0/16' } }],
          to: [{ http: {}, ports: [8081] }],
        },
        {
          name: 'address',
          from: [{ workload: id('db') }],
          to: [{ http: { paths: ['/by-address'] }, ports: [80] }],
          when: 'source.address.startsWith("203.0.113.")',
        },
        {
          name: 'port',
          from: [{ workload: id('db') }],
          to: [{ http: { paths: ['/by-port'] }, ports: [80] }],
          when: 'destination.port == 80',
        },
      ],
      deny: [
        {
          name: 'no',
          from: [{ trustDomain: DOMAIN }],
          to: [{ http: { paths: ['/no/{rest=**}'] }, ports: [80] }],
        },
      ],
    },
  }),
);

/** What Envoy is to do. */
export interface Wanted {
  readonly authentication?: AuthenticationStage;
  readonly enforced?: boolean;
  readonly version?: string;
}

/** One Envoy before the programs, the server that configures it, and those who call. */
export class Scene {
  readonly xds: Xds;
  readonly ports: Ports;
  readonly programs: Programs;
  readonly source: X509Source;
  #version = 0;

  constructor(parts: Pick<Scene, 'xds' | 'ports' | 'programs' | 'source'>) {
    this.xds = parts.xds;
    this.ports = parts.ports;
    this.programs = parts.programs;
    this.source = parts.source;
  }

  svid(name: string): X509Svid {
    const found = this.source.state.svids.find(({ spiffeId }) => spiffeId === id(name));
    if (found === undefined) throw new Error(`there is no SVID of ${name}`);
    return found;
  }

  /** What is rendered for Envoy. */
  rendered({ authentication = 'strict', enforced = true, version = `v${++this.#version}` }: Wanted = {}) {
    const { ports, programs } = this;
    const here = (port: number) => ({ host: '127.0.0.1', port });
    const inbound: EnvoyInbound[] = [
      { listen: here(ports.http), forward: here(programs.http), port: 80, protocol: 'http' },
      { listen: here(ports.grpc), forward: here(programs.grpc), port: 50_051, protocol: 'http' },
      { listen: here(ports.tcp), forward: here(programs.tcp), port: 6379, protocol: 'tcp' },
      {
        listen: here(ports.first),
        forward: here(programs.tcp),
        port: 3306,
        protocol: 'tcp',
        serverFirst: true,
      },
      {
        listen: here(ports.proxied),
        forward: here(programs.http),
        port: 8081,
        protocol: 'http',
        trustProxyHeader: { addresses: ['127.5.0.0/16'] },
      },
    ];
    const outbound: EnvoyOutbound[] = [
      { listen: here(ports.out), to: here(ports.http), peer: id('app'), protocol: 'http' },
      { listen: here(ports.wrong), to: here(ports.http), peer: id('db'), protocol: 'http' },
      {
        listen: here(ports.outTcp),
        to: { host: 'localhost', port: ports.tcp },
        peer: id('app'),
        protocol: 'tcp',
      },
    ];
    return envoyResources({
      workload: id('app'),
      trustDomains: [],
      version,
      accessLogCluster: 'interlock_control_plane',
      enforcement: {
        workload: id('app'),
        authentication,
        stage: enforced ? 'enforced' : 'shadow',
        target: POLICIES,
        ...(enforced ? { enforced: POLICIES } : {}),
      },
      inbound,
      outbound,
    }).resources;
  }

  /** Sends it, and waits until Envoy has confirmed it; milliseconds that took. */
  async apply(wanted: Wanted): Promise<number> {
    const start = performance.now();
    const version = this.xds.set(messagesOf(this.rendered(wanted)));
    await this.xds.status(({ confirmed = 0 }) => confirmed >= version);
    return performance.now() - start;
  }
}

/** The server's side of mutual TLS with an SVID, as the control plane has it. */
export function credentialsOf({ chain, key }: X509Svid, roots: readonly Uint8Array[]): ServerCredentials {
  const pem = (all: readonly Uint8Array[]) => Buffer.from(all.map((der) => certificateToPem(der)).join(''));
  const pair = {
    cert_chain: pem(chain.map(({ der }) => der)),
    private_key: Buffer.from(key.export({ type: 'pkcs8', format: 'pem' })),
  };
  return ServerCredentials.createSsl(pem(roots), [pair], true);
}

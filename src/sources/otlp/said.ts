import { MAX_PATH_LENGTH, MAX_SPIFFE_ID_BYTES, recordedPath, type SpiffeId } from '../../access/index.ts';
import { addressOf, hostIn, targetOf } from './address.ts';
import { principalIn } from './resource.ts';
import { eachAttribute, numberOf, portOf, textOf } from './values.ts';

/** What one span's name and attributes say, in the old semantic conventions and the new ones. */
export interface Said {
  name: string;
  method?: string;
  route?: string;
  path?: string;
  rpcSystem?: string;
  rpcService?: string;
  rpcMethod?: string;
  dbSystem?: string;
  dbName?: string;
  dbOperation?: string;
  messaging?: string;
  destination?: string;
  /** The port of the socket on a server's own side. */
  localPort?: number;
  /** On a client span the port it called; on a server span its own. */
  port?: number;
  /** The name a client called. */
  host?: string;
  /** The other end's address: the callee of a client span, the caller of a server span. */
  peerIp?: string;
  /** Who the client says it is (`client.address`); it may come from a header. */
  clientIp?: string;
  source?: SpiffeId;
  destinationId?: SpiffeId;
}

/** How the callee answered, as far as the span states it. */
export interface Answer {
  code: 'none' | 'good' | 'bad';
  /** An HTTP status arrived, so the callee was reached. */
  http: boolean;
  /** Share of traces that are kept, where the span states it. */
  ratio?: number;
}

/** Attributes of the older conventions and weaker hints, used where the stronger ones are absent. */
interface Weak extends Said {
  url?: string;
  hostHeader?: string;
  peerService?: string;
  peerName?: string;
}

/**
 * What a span's name and attributes say; `answer` is filled in. On a `serving` span a URL and `net.peer.*` are
 * the caller's view and the caller's own port, so neither gives the host or the port.
 */
export function readSaid(name: string, attributes: unknown, serving: boolean, answer: Answer): Said {
  const said: Said = { name };
  const weak: Weak = { name };
  eachAttribute(attributes, (key, value) => {
    READERS.get(key)?.(said, value, weak, answer);
  });
  const { url, hostHeader, peerService, peerName, ...rest } = weak;
  const called = url === undefined ? {} : targetOf(url);
  const header = hostHeader === undefined ? {} : targetOf(`//${hostHeader}`);
  const path = rest.path ?? called.path;
  const result: Said = { ...rest, ...(path === undefined ? {} : { path }), ...said };
  delete result.port;
  delete result.host;
  if (serving) {
    if (said.port !== undefined) result.port = said.port;
    return result;
  }
  const named = hostIn(said.host ?? peerName ?? called.host ?? header.host ?? peerService);
  if (named.host !== undefined) result.host = named.host;
  const port = said.port ?? rest.port ?? called.port ?? named.port ?? header.port;
  if (port !== undefined) result.port = port;
  return result;
}

type Reading = (said: Said, value: unknown, weak: Weak, answer: Answer) => void;

/** Fields of {@link Said} that come from one attribute as text. */
type TextField =
  | 'method'
  | 'route'
  | 'rpcSystem'
  | 'rpcService'
  | 'rpcMethod'
  | 'dbSystem'
  | 'dbName'
  | 'dbOperation'
  | 'messaging'
  | 'destination'
  | 'host';

function strong(field: TextField): Reading {
  return (said, value) => {
    const text = textOf(value);
    if (text !== undefined) said[field] = text;
  };
}

function weaker(field: TextField | 'hostHeader' | 'peerService' | 'peerName'): Reading {
  return (_said, value, weak) => {
    const text = textOf(value);
    if (text !== undefined) weak[field] ??= text;
  };
}

const path: Reading = (said, value) => {
  const text = textOf(value, MAX_PATH_LENGTH);
  if (text?.startsWith('/') === true) said.path = recordedPath(text);
};
const target: Reading = (_said, value, weak) => {
  const text = textOf(value, MAX_PATH_LENGTH);
  if (text === undefined) return;
  if (text.startsWith('/')) weak.path ??= recordedPath(text);
  else weak.url ??= text;
};
const url: Reading = (_said, value, weak) => {
  const text = textOf(value, MAX_PATH_LENGTH);
  if (text !== undefined) weak.url = text;
};
const httpStatus: Reading = (_said, value, _weak, answer) => {
  const code = numberOf(value);
  if (code === undefined || code < 100) return;
  answer.http = true;
  answer.code = code >= 400 ? 'bad' : answer.code === 'bad' ? 'bad' : 'good';
};
const grpcStatus: Reading = (said, value, _weak, answer) => {
  said.rpcSystem ??= 'grpc';
  rpcStatus(said, value, _weak, answer);
};
const rpcStatus: Reading = (_said, value, _weak, answer) => {
  // Status codes of gRPC: 0 is OK. The newest conventions write the name instead of the number.
  const code = numberOf(value);
  const name = textOf(value);
  if (code === undefined && name === undefined) return;
  const good = code === undefined ? name === 'OK' : code === 0;
  answer.code = good && answer.code !== 'bad' ? 'good' : 'bad';
};
const ratio: Reading = (_said, value, _weak, answer) => {
  const share = numberOf(value);
  if (share !== undefined && share > 0 && share < 1) answer.ratio = share;
};
const peer: Reading = (said, value) => {
  const ip = addressOf(textOf(value));
  if (ip !== undefined) said.peerIp = ip;
};
const weakPeer: Reading = (_said, value, weak) => {
  const ip = addressOf(textOf(value));
  if (ip !== undefined) weak.peerIp ??= ip;
};
const client: Reading = (said, value) => {
  const ip = addressOf(textOf(value));
  if (ip !== undefined) said.clientIp ??= ip;
};
const strongPort: Reading = (said, value) => {
  const port = portOf(value);
  if (port !== undefined) said.port = port;
};
const localPort: Reading = (said, value) => {
  const port = portOf(value);
  if (port !== undefined) said.localPort ??= port;
};
const hostPort: Reading = (_said, value, weak) => {
  const port = portOf(value);
  if (port !== undefined) weak.localPort ??= port;
};
const peerPort: Reading = (_said, value, weak) => {
  const port = portOf(value);
  if (port !== undefined) weak.port ??= port;
};
const source: Reading = (said, value) => {
  const id = principalIn(textOf(value, MAX_SPIFFE_ID_BYTES));
  if (id !== undefined) said.source = id;
};
const destination: Reading = (said, value) => {
  const id = principalIn(textOf(value, MAX_SPIFFE_ID_BYTES));
  if (id !== undefined) said.destinationId = id;
};

/** Attribute -> how it is read. Names from OpenTelemetry's conventions 1.0 to 1.38, Istio's and Envoy's tags. */
const READERS = new Map<string, Reading>([
  ['http.request.method', strong('method')],
  ['http.method', weaker('method')],
  ['http.route', strong('route')],
  ['url.template', weaker('route')],
  ['url.path', path],
  ['http.target', target],
  ['url.full', url],
  ['http.url', target],
  ['http.host', weaker('hostHeader')],
  ['http.response.status_code', httpStatus],
  ['http.status_code', httpStatus],
  ['rpc.system', strong('rpcSystem')],
  ['rpc.system.name', strong('rpcSystem')],
  ['rpc.service', strong('rpcService')],
  ['rpc.method', strong('rpcMethod')],
  ['rpc.grpc.status_code', grpcStatus],
  ['grpc.status_code', grpcStatus],
  ['rpc.response.status_code', rpcStatus],
  ['db.system.name', strong('dbSystem')],
  ['db.system', weaker('dbSystem')],
  ['db.namespace', strong('dbName')],
  ['db.name', weaker('dbName')],
  ['db.operation.name', strong('dbOperation')],
  ['db.operation', weaker('dbOperation')],
  ['messaging.system', strong('messaging')],
  ['messaging.destination.name', strong('destination')],
  ['messaging.destination', weaker('destination')],
  ['server.address', strong('host')],
  ['net.peer.name', weaker('peerName')],
  ['peer.service', weaker('peerService')],
  ['server.port', strongPort],
  ['net.host.port', hostPort],
  ['net.peer.port', peerPort],
  ['network.local.port', localPort],
  ['net.sock.host.port', localPort],
  ['network.peer.address', peer],
  ['net.sock.peer.addr', weakPeer],
  ['net.peer.ip', weakPeer],
  ['client.address', client],
  ['client.socket.address', weakPeer],
  ['http.client_ip', client],
  ['source.principal', source],
  ['destination.principal', destination],
  ['sampling.probability', ratio],
  ['sampling.ratio', ratio],
]);

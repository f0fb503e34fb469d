import { type Action, actionText, type Endpoint, grpcMethodOf, type Outcome } from '../../access/index.ts';
import { templateOf } from './route.ts';
import type { Said } from './said.ts';
import { describesIncoming, describesOutgoing, KIND, type Span } from './span.ts';

const SILENT: Said = { name: '' };
/** OpenTelemetry's messaging span names, semantic conventions 1.0 to 1.24: `<destination> <operation>`. */
const MESSAGE_NAME = /^(\S+) (?:process|receive|publish|send|deliver|create)$/;
/** Packages of the gRPC project itself: their `grpc.` is no prefix that a tracing library put there. */
const GRPC_PACKAGES = /^grpc\.(?:health|reflection|channelz|lb|lookup|binlog|testing|status|core|gcp)\./;
const HTTP_NAME = /^(?:HTTP )?(GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|QUERY)(?: (\/\S*))?$/;
/** A route that takes every path says less than the path that the caller asked for. */
const CATCH_ALL = /^\/\{\w+=\*\*\}$/;
/** RFC 9110 section 9.1: a method is a token; no registered one is longer than this. */
const METHOD = /^[A-Za-z][A-Za-z-]{0,31}$/;

/** What the callee's span says of the call, and what the caller's does; silent where it speaks of another call. */
function bothSides(parent: Span | undefined, child: Span | undefined): [callee: Said, caller: Said] {
  return [
    child !== undefined && describesIncoming(child) ? child.said : SILENT,
    parent !== undefined && describesOutgoing(parent) ? parent.said : SILENT,
  ];
}

/**
 * What was done over a link between two services, the callee's word first. The port is the callee's own, 0 where
 * only the caller's view (a Service's port) is known.
 */
export function actionOf(parent: Span | undefined, child: Span): Action {
  const [callee, caller] = bothSides(parent, child);
  const port = callee.localPort ?? callee.port ?? 0;
  return l7Action(callee, caller, port) ?? { kind: 'tcp', port };
}

/** What a client span did, with the port as the caller sees it; undefined where neither is known. */
export function outgoingActionOf(span: Span): Action | undefined {
  const { said } = span;
  const port = said.port ?? 0;
  const l7 = said.dbSystem === undefined ? l7Action(said, SILENT, port) : undefined;
  return l7 ?? (port === 0 ? undefined : { kind: 'tcp', port });
}

/** What came in at a server span whose caller is not recorded; undefined where it does not say. */
export function incomingActionOf(span: Span): Action | undefined {
  const { said } = span;
  const port = said.localPort ?? said.port ?? 0;
  return l7Action(said, SILENT, port) ?? (port === 0 ? undefined : { kind: 'tcp', port });
}

function l7Action(callee: Said, caller: Said, port: number): Action | undefined {
  const calleeHttp = isHttp(callee);
  const rpc = grpcOf(callee) ?? (calleeHttp ? undefined : grpcOf(caller));
  if (rpc !== undefined) return { kind: 'grpc', port, ...rpc };
  const own = pathOf(callee);
  // A template is the callee's to state: the caller's could let it in where it never was.
  const path = own === undefined || CATCH_ALL.test(own) ? (caller.path ?? own) : own;
  // gRPC is HTTP/2 with the method as path: a proxy's span may know no more than that.
  const wire = caller.rpcSystem === 'grpc' && path !== undefined ? grpcMethodOf(path) : undefined;
  if (wire !== undefined) return { kind: 'grpc', port, ...wire };
  const method = methodOf(callee) ?? methodOf(caller);
  if (method !== undefined) return { kind: 'http', port, method, path: path ?? '/{rest=**}' };
  // Connect's unary calls are HTTP POST to /service/method (connectrpc.com/docs/protocol).
  const connect = [callee, caller].find((said) => said.rpcSystem === 'connect_rpc');
  const names = connect === undefined ? undefined : rpcNames(connect);
  return names === undefined
    ? undefined
    : { kind: 'http', port, method: 'POST', path: `/${names.service}/${names.method}` };
}

function isHttp(said: Said): boolean {
  return said.method !== undefined || said.route !== undefined || said.path !== undefined;
}

function grpcOf(said: Said): { service: string; method: string } | undefined {
  if (said.rpcSystem !== 'grpc') return undefined;
  return rpcNames(said) ?? (said.path === undefined ? undefined : grpcMethodOf(said.path)) ?? nameAsRpc(said);
}

/** Since semantic conventions 1.38 `rpc.method` holds `package.Service/Method` and `rpc.service` is gone. */
function rpcNames(said: Said): { service: string; method: string } | undefined {
  const { rpcService: service, rpcMethod: method } = said;
  if (method === undefined) return undefined;
  if (method.includes('/')) return grpcMethodOf(method.startsWith('/') ? method : `/${method}`);
  return service === undefined ? undefined : { service, method };
}

function nameAsRpc(said: Said): { service: string; method: string } | undefined {
  const name = GRPC_PACKAGES.test(said.name) ? said.name : said.name.replace(/^grpc\./, '');
  return name.includes(' ') ? undefined : grpcMethodOf(name.startsWith('/') ? name : `/${name}`);
}

function methodOf(said: Said): string | undefined {
  const { method } = said;
  // `_OTHER` is the conventions' word for a method that the library does not know.
  if (method !== undefined && METHOD.test(method)) return method.toUpperCase();
  return said.route !== undefined || said.path !== undefined ? HTTP_NAME.exec(said.name)?.[1] : undefined;
}

/** A template where the route is one, else the raw path. */
function pathOf(said: Said): string | undefined {
  if (said.route !== undefined) return templateOf(said.route, said.path) ?? said.path;
  if (said.path !== undefined) return said.path;
  // Span names of HTTP servers are `METHOD route`, of some libraries the route alone.
  if (said.method === undefined) return undefined;
  const named = said.name.startsWith('/') ? said.name : HTTP_NAME.exec(said.name)?.[2];
  return named === undefined ? undefined : templateOf(named, undefined);
}

/** The broker destination, where a link or a span is a message and not a connection; else undefined. */
export function destinationOf(parent: Span | undefined, child: Span | undefined): string | undefined {
  const [callee, caller] = bothSides(parent, child);
  // A push over HTTP or gRPC is a connection, whatever it carries.
  if (child?.kind === KIND.server && (isHttp(callee) || callee.rpcSystem !== undefined)) return undefined;
  const named =
    callee.destination ??
    MESSAGE_NAME.exec(callee.name)?.[1] ??
    caller.destination ??
    MESSAGE_NAME.exec(caller.name)?.[1];
  const says =
    child?.kind === KIND.consumer ||
    parent?.kind === KIND.producer ||
    callee.messaging !== undefined ||
    caller.messaging !== undefined;
  if (says) return named ?? callee.messaging ?? caller.messaging ?? 'unnamed destination';
  return speaks(callee) || speaks(caller) ? undefined : named;
}

function speaks(said: Said): boolean {
  return isHttp(said) || said.rpcSystem !== undefined || said.dbSystem !== undefined;
}

/** How a call ended that reached the callee: by the callee's word, else by the answer that the caller saw. */
export function outcomeOf(parent: Span | undefined, child: Span): Outcome {
  if (describesIncoming(child)) {
    if (child.error || child.code === 'bad') return 'error';
    if (child.code === 'good') return 'ok';
  }
  return parent !== undefined && describesOutgoing(parent) && parent.code === 'bad' ? 'error' : 'ok';
}

/**
 * Who called and who was called; an identity that the callee's proxy verified wins over the resources. The
 * caller's span has no say: it could name another as the caller, or as the callee.
 */
export function endsOf(parent: Span, child: Span): [from: Endpoint, to: Endpoint] {
  const [{ source, destinationId }] = bothSides(parent, child);
  return [
    source === undefined ? parent.emitter.endpoint : { spiffeId: source },
    destinationId === undefined ? child.emitter.endpoint : { spiffeId: destinationId },
  ];
}

/** The operation in words, for a span whose other side is missing. */
export function operationOf(span: Span, action: Action | undefined): string {
  if (action !== undefined && action.kind !== 'tcp') return actionText({ ...action, port: 0 });
  return span.said.name === '' ? 'unnamed operation' : span.said.name;
}

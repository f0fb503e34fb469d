import { type Action, grpcMethodOf, MAX_PATH_LENGTH, recordedPath } from '../../access/index.ts';
import type { Ends } from './ends.ts';
import { slotOf } from './fields.ts';
import type { Spans } from './spans.ts';

const METHOD = slotOf('REQ(:METHOD)');
const PATH = slotOf('REQ(:PATH)');
const ORIGINAL_PATH = slotOf('REQ(X-ENVOY-ORIGINAL-PATH)');
const PROTOCOL = slotOf('PROTOCOL');
const CONTENT_TYPE = slotOf('REQ(CONTENT-TYPE)');
const GRPC_STATUS = slotOf('GRPC_STATUS');

/** RFC 9110 section 5.6.2, without lower case: methods have case, and a proxy compares them as they are. */
const METHOD_NAME = /^[A-Z0-9!#$%&'*+.^_`|~-]{1,32}$/;
/** Protocol Buffers language specification, "Identifiers". */
const SERVICE = /^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/;
const SERVICE_METHOD = /^[A-Za-z_]\w*$/;
const STYLED_SERVICE = /\.[A-Z]\w*$/;
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;

/** What lines with equal method, protocol and kind of content have in common. */
export interface Request {
  readonly kind: 'tcp' | 'http';
  readonly method: string;
  /** Whether it is a gRPC call: known, or to be told by the path. */
  readonly grpc: 'yes' | 'no' | 'by path';
  /** The slot of the path that the callee's proxy sees. */
  readonly pathSlot: number;
}

/** The kind of request of a line, or the reason why it is none. */
export function requestOf(line: Spans, ends: Ends): Request | string {
  const method = line.text(METHOD);
  const pathSlot = pathSlotOf(line, ends);
  if (method === undefined) {
    if (line.has(PROTOCOL)) return 'a request that the proxy could not read';
    return { kind: 'tcp', method: '', grpc: 'no', pathSlot };
  }
  if (!METHOD_NAME.test(method)) return 'a method that is not one';
  if (method === 'CONNECT' && !line.has(pathSlot))
    return 'a tunnel: the calls inside it have lines of their own';
  return { kind: 'http', method, grpc: method === 'POST' ? grpcOf(line) : 'no', pathSlot };
}

function grpcOf(line: Spans): Request['grpc'] {
  const type = line.text(CONTENT_TYPE);
  if (type !== undefined) return /^application\/grpc/i.test(type) ? 'yes' : 'no';
  if (line.has(GRPC_STATUS)) return 'yes';
  return line.text(PROTOCOL) === 'HTTP/2' ? 'by path' : 'no';
}

/**
 * The path that reaches the callee's policy. Envoy keeps the path from before its own rewriting in
 * x-envoy-original-path, and sends that header on. So a caller's proxy, and an inbound proxy of Istio (which
 * rewrites nothing), has it in `:path`; any other callee's proxy may have rewritten it after its policy had seen it.
 */
function pathSlotOf(line: Spans, ends: Ends): number {
  const rewritten = line.has(ORIGINAL_PATH) && ends.side === 'callee' && !ends.inbound;
  return rewritten || !line.has(PATH) ? ORIGINAL_PATH : PATH;
}

/** The action of a line, or the reason why it has none. */
export function actionOf(line: Spans, request: Request, port: number): Action | string {
  if (request.kind === 'tcp') return { kind: 'tcp', port };
  const raw = line.text(request.pathSlot);
  if (raw === undefined) return 'a request without a path';
  const path = recordedPath(raw).toWellFormed();
  if (path.length > MAX_PATH_LENGTH) return `a path of more than ${MAX_PATH_LENGTH} characters`;
  if (CONTROL.test(path)) return 'a path with control characters';
  if (path[0] !== '/' && path !== '*') return 'a path that does not begin with "/"';
  const grpc = request.grpc === 'no' ? undefined : grpcMethodOf(path);
  if (grpc !== undefined && isGrpc(grpc, request)) return { kind: 'grpc', port, ...grpc };
  return { kind: 'http', port, method: request.method, path };
}

/** By its path alone, a call is gRPC only where package and names are styled as the protobuf style guide has them. */
function isGrpc(name: { service: string; method: string }, request: Request): boolean {
  if (!SERVICE.test(name.service) || !SERVICE_METHOD.test(name.method)) return false;
  return request.grpc === 'yes' || (STYLED_SERVICE.test(name.service) && /^[A-Z]/.test(name.method));
}

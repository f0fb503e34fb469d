/**
 * What a principal does. `port` is the callee's own (container) port, 0 where the recording does not state it.
 * `path` is a raw path without its query, or a template: `{name}` stands for one segment, `{name=**}` for the
 * rest. A raw brace in a recorded path is stored percent-encoded, so a path with "{" is always a template.
 */
export type Action =
  | { readonly kind: 'tcp'; readonly port: number }
  | { readonly kind: 'http'; readonly port: number; readonly method: string; readonly path: string }
  | { readonly kind: 'grpc'; readonly port: number; readonly service: string; readonly method: string };

export type ActionKind = Action['kind'];

/** Longest path kept, in UTF-16 units; Envoy's default limit for all request headers is 60 KiB. */
export const MAX_PATH_LENGTH = 8192;

/** One text for one action; equal texts, equal actions. */
export function actionKey(action: Action): string {
  switch (action.kind) {
    case 'tcp':
      return `tcp ${action.port}`;
    case 'http':
      return `http ${action.port} ${action.method} ${action.path}`;
    case 'grpc':
      return `grpc ${action.port} ${action.service}/${action.method}`;
  }
}

/** The action as people read it: `GET /orders/{id} :8080`, `hipstershop.CartService/GetCart :7070`, `tcp :6379`. */
export function actionText(action: Action): string {
  const port = action.port === 0 ? '' : ` :${action.port}`;
  switch (action.kind) {
    case 'tcp':
      return `tcp${port}`;
    case 'http':
      return `${action.method} ${action.path}${port}`;
    case 'grpc':
      return `${action.service}/${action.method}${port}`;
  }
}

/** A recorded path in the form that is stored: no query, no fragment, braces percent-encoded. */
export function recordedPath(raw: string): string {
  let end = raw.length;
  for (let i = 0; i < raw.length; i++) {
    const c = raw.charCodeAt(i);
    if (c === 0x3f || c === 0x23) {
      end = i;
      break;
    }
  }
  const path = end === raw.length ? raw : raw.slice(0, end);
  return path.includes('{') || path.includes('}') ? path.replaceAll('{', '%7B').replaceAll('}', '%7D') : path;
}

/**
 * The gRPC service and method of a request path `/package.Service/Method` (gRPC over HTTP/2, section
 * "Requests"), or undefined where the path has another shape.
 */
export function grpcMethodOf(path: string): { service: string; method: string } | undefined {
  const slash = path.indexOf('/', 1);
  if (path.charCodeAt(0) !== 0x2f || slash < 2 || slash === path.length - 1) return undefined;
  if (path.indexOf('/', slash + 1) >= 0) return undefined;
  return { service: path.slice(1, slash), method: path.slice(slash + 1) };
}

/** The request path that a gRPC call has on the wire. */
export function grpcPath(service: string, method: string): string {
  return `/${service}/${method}`;
}

import { grpcPath } from '../access/index.ts';
import { type PathTemplate, parseTemplate } from './template.ts';
import type { To } from './types.ts';

/**
 * What a `to` is about, read: the requests of one protocol. gRPC is HTTP: a service is the paths below its name,
 * asked for with POST. `undefined` means any.
 */
export type Target =
  | { readonly kind: 'tcp'; readonly ports: readonly number[] | undefined }
  | {
      readonly kind: 'http' | 'grpc';
      readonly ports: readonly number[] | undefined;
      readonly methods: readonly string[] | undefined;
      readonly paths: readonly PathTemplate[] | undefined;
    };

/** Reads a checked `to`. Throws RangeError for a path that is no template: checking comes first. */
export function targetOf(to: To): Target {
  const { ports } = to;
  if ('tcp' in to) return { kind: 'tcp', ports };
  if ('http' in to) {
    const { methods, paths } = to.http;
    return { kind: 'http', ports, methods, paths: paths?.map(readTemplate) };
  }
  const { service, methods } = to.grpc;
  const paths = (methods ?? [ANY_METHOD]).map((method) => readTemplate(grpcPath(service, method)));
  return { kind: 'grpc', ports, methods: GRPC_METHODS, paths };
}

const GRPC_METHODS = ['POST'] as const;
/** The segment that stands for any method of a service: one segment, never more. */
const ANY_METHOD = '{method}';

function readTemplate(text: string): PathTemplate {
  const parsed = parseTemplate(text);
  if (!parsed.ok) throw new RangeError(`path "${text}": ${parsed.reason}`);
  return parsed.template;
}

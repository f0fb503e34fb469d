import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { bodyOf } from '../http1/answers.ts';
import type { Http2Head } from './head.ts';

/** gRPC's words for HTTP's (gRPC, "HTTP to gRPC Status Code Mapping"); UNKNOWN for all others. */
const GRPC_STATUS: Readonly<Record<number, number>> = {
  400: 13,
  403: 7,
  502: 14,
  503: 14,
  504: 14,
};
const UNKNOWN = 2;

/** Node adds no Date: the program's own goes on, and ours have none in HTTP/1.1 either. Its types lack the option. */
export const NO_DATE: object = { sendDate: false };

/** The trailers of an answer of our own: the fixed text of its status, and nothing about rules, programs or peers. */
export function statusFields(status: number): OutgoingHttpHeaders {
  return {
    'grpc-status': String(GRPC_STATUS[status] ?? UNKNOWN),
    'grpc-message': bodyOf(status).trimEnd(),
  };
}

/** Answers a request ourselves: a gRPC call with trailers only (gRPC over HTTP/2, section "Responses"). */
export function localAnswer(
  stream: ServerHttp2Stream,
  head: Pick<Http2Head, 'isGrpc' | 'method'> | undefined,
  status: number,
): void {
  if (head?.isGrpc === true) {
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', ...statusFields(status) },
      { endStream: true, ...NO_DATE },
    );
    return;
  }
  const body = bodyOf(status);
  const fields = { ':status': status, 'content-type': 'text/plain', 'content-length': body.length };
  const endStream = head?.method === 'HEAD';
  stream.respond(fields, { endStream, ...NO_DATE });
  if (!endStream) stream.end(body);
}

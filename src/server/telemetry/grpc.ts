import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { ResponderBuilder, type ServerInterceptor, ServerInterceptingCall, status } from '@grpc/grpc-js';
import type { Metrics } from './metrics.ts';

/** Counts every call and makes a span of it. A stream is one call: its span is as long as it is open. */
export function callInterceptor(metrics: Metrics): ServerInterceptor {
  return ({ path }, call) => {
    const span = trace.getTracer('interlock').startSpan(path.slice(1), {
      kind: SpanKind.SERVER,
      attributes: { 'rpc.system.name': 'grpc', 'rpc.method': path.slice(1) },
    });
    let isOver = false;
    const end = (code: status) => {
      if (isOver) return;
      isOver = true;
      const name = status[code] ?? String(code);
      metrics.grpc.inc({ method: path, code: name });
      span.setAttribute('rpc.response.status_code', name);
      if (code !== status.OK && code !== status.CANCELLED) span.setStatus({ code: SpanStatusCode.ERROR });
      span.end();
    };
    const responder = new ResponderBuilder()
      .withStart((next) =>
        next({
          onReceiveMetadata: (metadata, goOn) => goOn(metadata),
          onReceiveMessage: (message, goOn) => goOn(message),
          onReceiveHalfClose: (goOn) => goOn(),
          // The caller is gone: there is nobody to send a status to.
          onCancel: () => end(status.CANCELLED),
        }),
      )
      .withSendStatus((sent, next) => {
        end(sent.code ?? status.UNKNOWN);
        next(sent);
      })
      .build();
    return new ServerInterceptingCall(call, responder);
  };
}

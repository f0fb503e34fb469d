import { diag, DiagLogLevel, trace } from '@opentelemetry/api';
import type { ServerLog } from '../serve-options.ts';

/** Spans that wait to be sent; more are dropped, since traces must not cost what they watch. */
const MAX_WAITING = 4096;

/**
 * Sends spans to an OTLP/HTTP endpoint (JSON) until the function given back is called. Where nobody asks for traces none of
 * this is loaded, and spans cost nothing.
 */
export async function startTraces(url: URL, version: string, log: ServerLog): Promise<() => Promise<void>> {
  const [{ BatchSpanProcessor, TracerProvider }, { OTLPTraceExporter }, { resourceFromAttributes }] =
    await Promise.all([
      import('@opentelemetry/sdk-trace'),
      import('@opentelemetry/exporter-trace-otlp-http'),
      import('@opentelemetry/resources'),
    ]);
  const warn = (message: string) => log.warn({ to: url.origin }, `traces: ${message}`);
  const nothing = () => {};
  diag.setLogger(
    { error: warn, warn, info: nothing, debug: nothing, verbose: nothing },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  const exporter = new OTLPTraceExporter({ url: url.href, timeoutMillis: 10_000 });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'interlock', 'service.version': version }),
    spanProcessors: [new BatchSpanProcessor({ exporter, maxQueueSize: MAX_WAITING })],
  });
  trace.setGlobalTracerProvider(provider);
  return async () => {
    trace.disable();
    await provider.shutdown();
    diag.disable();
  };
}

import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { IdentityStore } from '../../store/index.ts';
import type { Timers } from '../timers.ts';
import type { Metrics } from './metrics.ts';

/** A store whose operations are measured, and whose commits are spans. */
export function observedStore(
  store: IdentityStore,
  metrics: Metrics,
  timers: Timers,
  system = 'sqlite',
): IdentityStore {
  const observed =
    <Args extends unknown[], T>(operation: string, run: (...args: Args) => Promise<T>) =>
    (...args: Args): Promise<T> => {
      const start = timers.now();
      const span =
        operation === 'commit'
          ? trace.getTracer('interlock').startSpan('store commit', {
              kind: SpanKind.CLIENT,
              attributes: { 'db.system.name': system, 'db.operation.name': operation },
            })
          : undefined;
      const ended = (result: 'ok' | 'failed') => {
        metrics.store.observe({ operation, result }, Math.max(0, timers.now() - start) / 1000);
        if (result === 'failed') span?.setStatus({ code: SpanStatusCode.ERROR });
        span?.end();
      };
      const promise = run(...args);
      promise.then(
        () => ended('ok'),
        () => ended('failed'),
      );
      return promise;
    };
  return {
    commit: observed('commit', (...args) => store.commit(...args)),
    documents: observed('documents', (...args) => store.documents(...args)),
    takeJoinToken: observed('takeJoinToken', (...args) => store.takeJoinToken(...args)),
    joinTokens: observed('joinTokens', (...args) => store.joinTokens(...args)),
    useToken: observed('useToken', (...args) => store.useToken(...args)),
    agents: observed('agents', (...args) => store.agents(...args)),
    issued: observed('issued', (...args) => store.issued(...args)),
    liveCounts: observed('liveCounts', (...args) => store.liveCounts(...args)),
    revocations: observed('revocations', (...args) => store.revocations(...args)),
    audit: observed('audit', (...args) => store.audit(...args)),
    verifyAudit: observed('verifyAudit', (...args) => store.verifyAudit(...args)),
    prune: observed('prune', (...args) => store.prune(...args)),
    watch: (onCommit) => store.watch(onCommit),
    lead: (onLead) => store.lead(onLead),
    close: () => store.close(),
  };
}

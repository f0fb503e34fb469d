import type { ServerReadableStream } from '@grpc/grpc-js';
import type { JsonObject } from '@bufbuild/protobuf';
import { parseLogName, type LogName } from '../../../src/engines/envoy/resources/index.ts';
import type { accessLog, accessLogData } from '../../../src/proto/envoy/index.ts';

/** One entry as Envoy sent it, with what its stream is about. */
export interface Entry {
  readonly about: LogName;
  readonly node: string;
  readonly common: accessLogData.AccessLogCommon;
  readonly http?: accessLogData.HTTPAccessLogEntry;
}

/** Takes what Envoy logs, and gives each entry to whoever waits for it. */
export class AccessLogs {
  readonly entries: Entry[] = [];
  #news = Promise.withResolvers<void>();

  take(
    stream: ServerReadableStream<accessLog.StreamAccessLogsMessage, accessLog.StreamAccessLogsResponse>,
  ): void {
    let about: LogName | undefined;
    let node = '';
    stream.on('data', ({ identifier, logEntries }: accessLog.StreamAccessLogsMessage) => {
      if (identifier !== undefined) {
        about = parseLogName(identifier.logName);
        node = identifier.node?.id ?? '';
      }
      if (about === undefined) throw new Error(`a log named ${identifier?.logName}`);
      for (const entry of logEntries.value?.logEntry ?? []) {
        const { commonProperties: common } = entry;
        if (common === undefined) continue;
        const http = entry.$typeName === 'envoy.data.accesslog.v3.HTTPAccessLogEntry' ? { http: entry } : {};
        this.entries.push({ about, node, common, ...http });
      }
      this.#news.resolve();
      this.#news = Promise.withResolvers();
    });
    stream.on('error', () => {});
  }

  /** The first entry from `from` on that fits. Throws where none comes in ten seconds. */
  async find(fits: (entry: Entry) => boolean, from = 0): Promise<Entry> {
    const end = AbortSignal.timeout(10_000);
    const over = new Promise<void>((resolve) =>
      end.addEventListener('abort', () => resolve(), { once: true }),
    );
    for (;;) {
      const found = this.entries.find((entry, index) => index >= from && fits(entry));
      if (found !== undefined) return found;
      if (end.aborted) throw new Error('no such entry was logged');
      await Promise.race([this.#news.promise, over]);
    }
  }
}

/** The dynamic metadata of the RBAC filters, by key; empty where no filter ran. */
export function rbacMetadata({ common }: Entry): JsonObject {
  const all = common.metadata?.filterMetadata ?? {};
  return all['envoy.filters.http.rbac'] ?? all['envoy.filters.network.rbac'] ?? {};
}

/** What a set says, as far as it is told. */
export interface Told {
  readonly allowed: boolean;
  readonly policyId?: string;
}

/** What the target set said, from its two filters' metadata; undefined where it was not asked. */
export function targetIn(entry: Entry): Told | undefined {
  return toldIn(rbacMetadata(entry), 'interlock_target_', 'shadow');
}

/**
 * What the enforced set said; undefined where it was not asked. The filter of TCP chains leaves no metadata of its
 * rules: a denial is in the details of the connection's end, and what is allowed says nothing.
 */
export function enforcedIn(entry: Entry): Told | undefined {
  if (entry.http !== undefined) return toldIn(rbacMetadata(entry), 'interlock_', 'enforced');
  const denied = /^rbac_access_denied_matched_policy\[(.*)\]$/.exec(
    entry.common.connectionTerminationDetails,
  );
  if (denied === null) return undefined;
  return { allowed: false, ...(denied[1] === 'none' ? {} : { policyId: String(denied[1]) }) };
}

function toldIn(metadata: JsonObject, prefix: string, kind: 'shadow' | 'enforced'): Told | undefined {
  const read = (action: string) => {
    const id = metadata[`${prefix}${action}_${kind}_effective_policy_id`];
    const result = metadata[`${prefix}${action}_${kind}_engine_result`];
    return { result, ...(typeof id === 'string' ? { policyId: id } : {}) };
  };
  const [deny, allow] = [read('deny'), read('allow')];
  const decisive = deny.result === 'denied' ? deny : allow;
  if (decisive.result === undefined) return undefined;
  const { policyId } = decisive;
  return { allowed: decisive.result === 'allowed', ...(policyId === undefined ? {} : { policyId }) };
}

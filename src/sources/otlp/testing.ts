import { actionText, endpointKey, outcomesOf, Tally } from '../../access/index.ts';
import type { Limits } from './join.ts';
import { OtlpReader } from './reader.ts';

/** For tests: 2026-01-05 10:00 UTC, and the clock that readers hold against records from the future. */
export const AT = Date.UTC(2026, 0, 5, 10);
export const NOW = AT + 3_600_000;

type Value = string | number;

/** For tests: one span with the service that emitted it, in few words. */
export interface Line {
  readonly service: string;
  readonly id: string;
  readonly parent?: string;
  readonly kind?: number | string;
  readonly name?: string;
  readonly says?: Readonly<Record<string, Value>>;
  readonly resource?: Readonly<Record<string, Value>>;
  /** Fields of the raw span that replace the usual ones. */
  readonly raw?: Readonly<Record<string, unknown>>;
}

function attributes(says: Readonly<Record<string, Value>>): unknown[] {
  return Object.entries(says).map(([key, value]) => ({
    key,
    value: typeof value === 'number' ? { intValue: `${value}` } : { stringValue: value },
  }));
}

const hex = (id: string): string => Buffer.from(id).toString('hex').padStart(16, '0').slice(-16);

/** For tests: an export request of these spans, one resource each. */
export function request(lines: readonly Line[]): string {
  return JSON.stringify({
    resourceSpans: lines.map(({ service, id, parent, kind, name, says, resource, raw }) => ({
      resource: {
        attributes: attributes({ 'service.name': service, 'k8s.namespace.name': 'shop', ...resource }),
      },
      scopeSpans: [
        {
          scope: {},
          spans: [
            {
              traceId: '0123456789abcdef0123456789abcdef',
              spanId: hex(id),
              ...(parent === undefined ? {} : { parentSpanId: hex(parent) }),
              name: name ?? 'operation',
              kind: kind ?? 1,
              startTimeUnixNano: `${AT}000000`,
              attributes: attributes(says ?? {}),
              ...raw,
            },
          ],
        },
      ],
    })),
  });
}

/** For tests: what a reader makes of these lines. */
export function read(
  texts: readonly string[],
  options: { carry?: unknown; limits?: Limits } = {},
): { tally: Tally; carry: unknown } {
  const tally = new Tally('otlp', {
    attribute: (ip) => (ip === '10.0.0.7' ? { namespace: 'shop', workload: 'known' } : undefined),
  });
  const reader = new OtlpReader(tally, { now: NOW, carry: options.carry }, options.limits);
  for (const [i, text] of texts.entries()) reader.line(Buffer.from(text), i + 1);
  reader.end();
  return { tally, carry: JSON.parse(JSON.stringify(reader.carry())) };
}

/** For tests: accesses and blind spots as sorted sentences with their counts. */
export function sentences(...tallies: readonly Tally[]): string[] {
  const sums = new Map<string, number>();
  const add = (text: string, n: number): void => void sums.set(text, (sums.get(text) ?? 0) + n);
  for (const tally of tallies) {
    for (const { from, to, action, evidence } of tally.accesses()) {
      for (const [outcome, n] of Object.entries(outcomesOf(evidence))) {
        if (n !== 0) add(`${endpointKey(from)} -> ${endpointKey(to)}: ${actionText(action)} ${outcome}`, n);
      }
    }
    for (const { kind, from, to, what, action, count } of tally.blindSpots()) {
      const text = action === undefined ? '' : ` (${actionText(action)})`;
      add(`${kind}: ${endpointKey(from)} -> ${endpointKey(to)}: ${what}${text}`, count);
    }
  }
  return [...sums]
    .filter(([, n]) => n !== 0)
    .map(([text, n]) => `${n} ${text.replaceAll('w:shop//', '')}`)
    .sort();
}

import type { Tally } from '../../access/index.ts';
import type { Source, SourceOptions } from '../source.ts';
import { OtlpReader } from './reader.ts';

// No `\s*` right after a line feed: a head of nothing but line feeds would be searched quadratically.
const TRACES = /(?:^|\n)[ \t\r\uFEFF]*(?:\[\s*)?\{\s*"resourceSpans"\s*:/;
const OTHER_SIGNALS = /(?:^|\n)[ \t\r\uFEFF]*\{\s*"resource(?:Metrics|Logs)"\s*:/;

/**
 * Traces as the OpenTelemetry Collector's file exporter writes them: OTLP/JSON, one export request a line. Open
 * one reader for all files of a command: a span's parent may be in another file.
 */
export const otlp: Source = {
  format: 'otlp',
  framing: 'lines',
  joins: true,
  detect(head: string): number {
    if (TRACES.test(head)) return 1;
    return OTHER_SIGNALS.test(head) ? 0.9 : 0;
  },
  open(tally: Tally, options: SourceOptions): OtlpReader {
    return new OtlpReader(tally, options);
  },
};

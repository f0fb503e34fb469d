import { AccessLogReader } from '../accesslog/reader.ts';
import { headLines, jsonLogLines } from '../accesslog/detect.ts';
import type { Source } from '../source.ts';
import { istioText } from './text.ts';

/** The beginning of a line in Istio's default text format, up to the quoted failure reason, and its six last values. */
const TEXT_LINE = /^\[[0-9T:.Z+-]{20,40}\] "\S+ \S+ \S+" \d+ \S+ \S+ \S+ ".*" \S+ \S+ \S+ \S+ \S+ \S+$/;

/** Istio's access logs: its default text format and its default JSON, which differs from Envoy's by the clusters' names. */
export const istio: Source = {
  format: 'istio',
  framing: 'lines',
  independentLines: true,
  detect(head) {
    if (headLines(head).some((line) => TEXT_LINE.test(line))) return 0.95;
    return jsonLogLines(head).istio ? 0.9 : 0;
  },
  open: (tally, options) => new AccessLogReader(tally, options, istioText),
};

import { AccessLogReader } from '../accesslog/reader.ts';
import { jsonLogLines } from '../accesslog/detect.ts';
import type { Source } from '../source.ts';

/** Envoy's access logs in JSON, with command operators' names in lower case, or the user's own, as keys. */
export const envoy: Source = {
  format: 'envoy',
  framing: 'lines',
  independentLines: true,
  detect: (head, fields) => (jsonLogLines(head, fields).found ? 0.8 : 0),
  open: (tally, options) => new AccessLogReader(tally, options),
};

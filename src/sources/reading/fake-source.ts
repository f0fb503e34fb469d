import { InterlockError } from '../../access/index.ts';
import type { Source } from '../source.ts';

/**
 * The smallest source there can be, for the tests of what reads recordings: `{"fake":PORT,"at":MS,"ip":ADDRESS}`
 * a line. A line that says `stop` is one after which nothing sensible can follow.
 */
export const fakeSource = {
  format: 'envoy',
  framing: 'lines',
  independentLines: true,
  detect: (head) => (head.includes('"fake"') ? 1 : 0),
  open: (tally) => ({
    line(bytes, number) {
      const text = bytes.toString();
      tally.read++;
      if (text === 'stop') throw new InterlockError('invalid_recording', '', 'it says stop');
      if (!text.startsWith('{"fake"') || !text.endsWith('}')) return tally.skip('not fake', number, text);
      const { fake, at, ip } = JSON.parse(text);
      const counter = tally.access(
        tally.endpointOfIp(ip, at),
        { workload: 'b' },
        { kind: 'tcp', port: fake },
        'callee',
      );
      counter.add(at, 'ok', ip);
      tally.cover(at);
      tally.accepted++;
    },
    end() {},
  }),
} as const satisfies Source;

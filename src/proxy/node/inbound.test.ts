import { afterEach, describe, expect, test } from 'vitest';
import { TestClock } from '../../workload/testing.ts';
import type { InboundContext, LogLine } from '../inbound/connection.ts';
import { newCounters } from '../counters.ts';
import {
  closeAll,
  closeLater,
  DB,
  db,
  dialPlain,
  httpApp,
  readAll,
  TestRecorder,
  until,
} from '../proxy.test-helper.ts';
import { DEFAULT_TIMEOUTS } from '../settings.ts';
import { Verdicts } from '../verdicts/verdicts.ts';
import type { NodeInboundRoute } from './document.ts';
import { NodeInbound } from './inbound.ts';

afterEach(closeAll);

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';
const GET = 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n';

async function shared(options: { direct?: boolean; program?: () => Promise<{ reason: string }> } = {}) {
  const app = await httpApp(OK);
  const clock = new TestClock();
  const verdicts = new Verdicts();
  verdicts.replace([{ workload: DB, authentication: 'plaintext', stage: 'draft' }]);
  const recorder = new TestRecorder();
  const log: LogLine[] = [];
  const context: InboundContext = {
    verdicts,
    recorder,
    clock,
    timeouts: DEFAULT_TIMEOUTS,
    counters: newCounters(),
    log: (line) => log.push(line),
  };
  const route: NodeInboundRoute = {
    workload: DB,
    listen: { host: '127.0.0.1', port: 0 },
    forward: app.address,
    port: 5432,
    protocol: 'http',
    trustProxyHeader: { addresses: ['127.0.0.1/32'], workloads: [] },
  };
  const port = closeLater(
    await NodeInbound.open({
      routes: [...(options.direct === true ? [route] : []), { ...route, destination: 5432 }],
      context,
      programs: { of: options.program ?? (async () => ({ view: db })) },
      callerOf: async () => undefined,
    }),
  );
  return { port, clock, recorder, log, context, app };
}

describe('a port that several workloads share', () => {
  test('serves the destination that a believed header names, and tells the program of its source', async () => {
    const { port, recorder } = await shared();
    const socket = await dialPlain(port.address.port);
    socket.end(`PROXY TCP4 192.0.2.1 192.0.2.2 1111 5432\r\n${GET}`);
    expect(await readAll(socket)).toContain('200 OK');
    expect(recorder.plain).toMatchObject([{ address: '192.0.2.1', port: 1111 }]);
  });

  test.each([
    ['bytes that are no header', 'GET / HTTP/1.1\r\n\r\n', 'no PROXY header where one is due'],
    ['another destination', 'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n', 'a destination that is not served'],
    ['no destination', 'PROXY UNKNOWN\r\n', 'a destination that is not served'],
    ['a header that is cut off', 'PROXY TCP4 192.0.2.1', 'no PROXY header'],
  ])('refuses %s, and records it', async (_, bytes, reason) => {
    const { port, log, recorder, app } = await shared();
    const socket = await dialPlain(port.address.port);
    socket.end(bytes);
    expect(await readAll(socket)).toBe('');
    expect(log[0]).toMatchObject({ event: 'refused', reason: expect.stringContaining(reason) });
    expect(recorder.accesses).toMatchObject([{ workload: DB, outcome: 'denied' }]);
    expect(app.sockets).toHaveLength(0);
  });

  test('waits for a header no longer than for a handshake', async () => {
    const { port, clock, log } = await shared();
    const socket = await dialPlain(port.address.port);
    socket.write('PROXY ');
    await until(() => port.size === 1 && clock.next !== undefined);
    clock.advance(DEFAULT_TIMEOUTS.handshake);
    expect(await readAll(socket)).toBe('');
    expect(log[0]?.reason).toBe('no PROXY header');
  });

  test('gives a header without a destination to the workload that takes connections directly', async () => {
    const { port } = await shared({ direct: true });
    const socket = await dialPlain(port.address.port);
    socket.end(`PROXY UNKNOWN\r\n${GET}`);
    expect(await readAll(socket)).toContain('200 OK');
  });

  test('refuses while no program of the workload listens, and when that cannot be told', async () => {
    for (const program of [
      async () => ({ reason: 'nobody is there' }),
      async () => {
        throw new Error('nobody is there');
      },
    ]) {
      const { port, log, recorder } = await shared({ direct: true, program });
      const socket = await dialPlain(port.address.port);
      socket.end(`PROXY UNKNOWN\r\n${GET}`);
      expect(await readAll(socket)).toBe('');
      expect(log[0]?.reason).toBe('nobody is there');
      expect(recorder.accesses).toMatchObject([{ outcome: 'denied' }]);
    }
  });
});

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterEach, describe, expect, it } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { ProxyStateSchema } from '../../proto/proxy/index.ts';
import { TestClock } from '../../workload/testing.ts';
import type { StreamHandlers } from '../control/connect.ts';
import { stateFiles } from '../control/state-files.ts';
import { Spool } from '../evidence/spool.ts';
import type { LogLine } from '../inbound/connection.ts';
import {
  closeAll,
  closeLater,
  db,
  DB,
  dial,
  enforcement,
  httpApp,
  policy,
  readAll,
  readUntil,
  startApp,
  until,
  WEB,
} from '../proxy.test-helper.ts';
import { DEFAULT_TIMEOUTS } from '../settings.ts';
import type { Address } from '../types.ts';
import { Proxy } from './proxy.ts';

afterEach(closeAll);

const LOOPBACK = { host: '127.0.0.1', port: 0 };
const GET = 'GET /a HTTP/1.1\r\nHost: db\r\n\r\n';
/** How long the exception of these tests holds, and how long what it has opened stays; milliseconds. */
const [HOLDS, GRACE] = [60_000, 5_000];

function directory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-ends-'));
  closeLater({ close: () => rmSync(dir, { recursive: true, force: true }) });
  return dir;
}

/** A whole proxy with its clock, whose control plane speaks once and is then away for good. */
async function open(dir: string, clock: TestClock, forward: { http: Address; tcp: Address }, state?: object) {
  const log: LogLine[] = [];
  const faults: unknown[] = [];
  const onFault = (error: unknown) => void faults.push(error);
  // Set where the stream is opened, which the compiler does not see.
  let handlers = undefined as StreamHandlers | undefined;
  const proxy = await Proxy.open({
    instance: 'db-0',
    version: 'test',
    sources: new Map([[DB, db]]),
    inbound: [
      { workload: DB, listen: LOOPBACK, forward: forward.http, port: 80, protocol: 'http' },
      { workload: DB, listen: LOOPBACK, forward: forward.tcp, port: 5432, protocol: 'tcp' },
    ],
    outbound: [],
    timeouts: DEFAULT_TIMEOUTS,
    authentication: 'strict',
    files: stateFiles(join(dir, 'state')),
    spool: await Spool.open({ dir: join(dir, 'spool'), now: clock.now, onFault }),
    clock,
    openStream: (given) => {
      if (state === undefined || handlers !== undefined)
        throw new InterlockError('unavailable', 'control plane', 'it is away');
      handlers = given;
      return { send: () => true, close: () => {} };
    },
    onLine: (line) => log.push(line),
    onOnline: () => {},
    onFault,
  });
  closeLater({ close: () => proxy.close() });
  if (handlers !== undefined) {
    const workloads = [{ workload: DB, enforcement: Buffer.from(JSON.stringify(state)) }];
    handlers.onMessage({ case: 'state', value: create(ProxyStateSchema, { version: 1n, workloads }) });
    handlers.onEnd(new InterlockError('unavailable', 'control plane', 'it has left'));
  }
  const [http = LOOPBACK, tcp = LOOPBACK] = proxy.addresses.inbound;
  return { proxy, log, faults, http: http.port, tcp: tcp.port };
}

async function programs() {
  const http = await httpApp('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  const tcp = await startApp((socket) => socket.pipe(socket));
  return { http: http.address, tcp: tcp.address };
}

function stateEnding(clock: TestClock): object {
  const ending = new Date(clock.now() + HOLDS).toISOString();
  const [own] = [
    policy([
      {
        name: 'moving',
        from: [{ workload: WEB }],
        to: [{ http: {} }, { tcp: {}, ports: [5432] }],
        until: ending,
      },
    ]),
  ];
  return enforcement([{ ...own, spec: { ...own.spec, connectionGrace: `${GRACE / 1000}s` } }]);
}

describe('an exception at a proxy whose control plane is away', () => {
  it('ends at its time: requests and new connections at once, open connections after their grace', async () => {
    const clock = new TestClock();
    const { proxy, http, tcp, log, faults } = await open(
      directory(),
      clock,
      await programs(),
      stateEnding(clock),
    );
    const [requests, bytes] = [await dial(http), await dial(tcp)];
    requests.write(GET);
    expect(await readUntil(requests, /ok$/)).toContain('200 OK');
    bytes.write('x');
    expect(await readUntil(bytes, /x/)).toBe('x');
    expect(proxy.status.online).toBe(false);

    clock.advance(HOLDS - 1);
    requests.write(GET);
    expect(await readUntil(requests, /ok$/)).toContain('200 OK');

    clock.advance(1);
    requests.write(GET);
    expect(await readUntil(requests, /\r\n\r\n/)).toContain('403');
    expect(await readAll(await dial(tcp))).toBe('');
    bytes.write('y');
    expect(await readUntil(bytes, /y/)).toBe('y');
    // The open connections are judged in the turn after the end.
    clock.advance(GRACE);
    expect(await readAll(bytes)).toBe('');
    await until(() =>
      log.some(({ event, reason }) => event === 'cut' && reason === 'policy no longer allows it'),
    );
    expect(faults).toEqual([]);
  });

  it('is over after a restart, from the last state on disk', async () => {
    const clock = new TestClock();
    const [dir, forward] = [directory(), await programs()];
    const first = await open(dir, clock, forward, stateEnding(clock));
    await first.proxy.close();
    clock.advance(HOLDS - 1);
    const second = await open(dir, clock, forward);
    const socket = await dial(second.http);
    socket.write(GET);
    expect(await readUntil(socket, /ok$/)).toContain('200 OK');
    await second.proxy.close();
    clock.advance(1);
    const third = await open(dir, clock, forward);
    const late = await dial(third.http);
    late.write(GET);
    expect(await readUntil(late, /\r\n\r\n/)).toContain('403');
  });
});

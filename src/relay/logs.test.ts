import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import type { SpiffeId } from '../access/index.ts';
import type { Report } from '../proto/proxy/index.ts';
import { Spool } from '../proxy/index.ts';
import {
  type Common,
  commonOf,
  httpMessage,
  httpOf,
  rbac,
  tcpMessage,
} from '../sources/envoy/als/testing.ts';
import { APP, closeAll, directory, FakeLog, openRelay } from './relay.test-helper.ts';

afterEach(closeAll);

const at = (now: number): Common => ({ startTime: { seconds: BigInt(Math.floor(now / 1000)), nanos: 0 } });
/** Accesses of a report: path or kind, and how many of ok, failed, denied, mutual, plain. */
const lines = ({ accesses }: Report) =>
  accesses.map(({ action, ok, failed, denied, mutual, plaintext }) =>
    [action?.text === '' ? action.kind : action?.text, ok, failed, denied, mutual, plaintext].join(' '),
  );

describe("Envoy's access logs", () => {
  test('become reports of a proxy: accesses, flips with the version of the target, and who came in plain text', async () => {
    const { control, socket, clock, relay } = await openRelay();
    const now = clock.now();
    const flips = rbac({
      interlock_allow_enforced_engine_result: 'allowed',
      interlock_target_allow_shadow_engine_result: 'denied',
    });
    const requests = new FakeLog(socket);
    requests.send(
      httpMessage(
        httpOf({}, at(now)),
        httpOf({}, { ...at(now), metadata: flips, routeName: '7.abc' } as Common),
        httpOf(
          {
            request: { requestMethod: 1, path: '/no' },
            response: { responseCode: 403, responseCodeDetails: 'rbac_access_denied_matched_policy[none]' },
          },
          at(now),
        ),
      ),
    );
    expect(await requests.finish()).toBe(0);
    const accepted = new FakeLog(socket, { kind: 'accepted' });
    const plain = { ...at(now), tlsProperties: {}, accessLogType: 3 } as Common;
    const failed = { ...plain, downstreamTransportFailureReason: 'no certificate' } as Common;
    accepted.send(
      tcpMessage(
        { commonProperties: commonOf(plain), connectionProperties: { receivedBytes: 7n } },
        { commonProperties: commonOf(failed) },
      ),
    );
    expect(await accepted.finish()).toBe(0);
    clock.advance(1000);
    await control.reported(1);
    const [report] = control.reports;
    if (report === undefined) throw new Error('no report came');
    // A handshake that failed is no caller in plain text.
    expect(lines(report)).toEqual(['/items/1 2 0 0 2 0', '/no 0 0 1 1 0', 'tcp 0 1 0 0 0']);
    expect(report.accesses.map(({ to }) => to)).toEqual([APP, APP, APP]);
    expect(report.flips.map(({ refused, targetVersion, count }) => [refused, targetVersion, count])).toEqual([
      [false, 7n, 1n],
      [true, 0n, 1n],
    ]);
    expect(report.plaintext.map(({ from, connections }) => [from?.address, connections])).toEqual([
      ['10.0.0.7', 1n],
    ]);
    expect(relay.status.logs).toEqual({ streams: 0, taken: 5, skipped: {} });
  });

  test('wait on disk while the control plane is away, through a restart of the relay, and come once', async () => {
    const { control, socket, clock, close, dir, relay } = await openRelay();
    control.isAway = true;
    control.leave();
    const log = new FakeLog(socket);
    log.send(httpMessage(httpOf({}, at(clock.now())), httpOf({}, at(clock.now()))));
    await log.finish();
    clock.advance(1000);
    expect(relay.status.spooled).toBe(1);
    await close();
    const again = await openRelay({ dir });
    again.control.state(5, { workload: APP, authentication: 'strict', stage: 'draft' });
    await again.control.reported(1);
    expect(again.control.reports.map((report) => lines(report))).toEqual([['/items/1 2 0 0 2 0']]);
    again.control.take(again.control.reports[0]?.sequence ?? 0n);
    expect(again.relay.status.spooled).toBe(0);
  });

  test('that have no room on disk are counted as lost', async () => {
    const dir = directory();
    const now = Date.UTC(2026, 10, 21);
    const spool = await Spool.open({ dir: `${dir}/spool`, now: () => now, limit: 250, onFault: () => {} });
    const { control, socket, clock, relay } = await openRelay({ spool });
    control.isAway = true;
    control.leave();
    for (const path of ['/a', '/b', '/c']) {
      const log = new FakeLog(socket);
      log.send(httpMessage(httpOf({ request: { requestMethod: 1, path } }, at(clock.now()))));
      await log.finish();
      clock.advance(1000);
    }
    expect(relay.status.spooled).toBe(1);
    // The next report says what was dropped before it.
    control.isAway = false;
    clock.advance(6000);
    control.state(5, { workload: APP, authentication: 'strict', stage: 'draft' });
    await control.reported(1);
    control.take(control.reports[0]?.sequence ?? 0n);
    await control.reported(2);
    expect(control.reports.flatMap((report) => lines(report))).toEqual(['/c 1 0 0 1 0']);
    expect(control.reports.map(({ lost }) => lost)).toEqual([1n, 1n]);
  });

  test('that are too old for the control plane are counted as lost; a long connection counts when it ended', async () => {
    const { control, socket, clock, relay } = await openRelay();
    const log = new FakeLog(socket);
    const day = 86_400_000;
    const long = {
      ...at(clock.now() - 8 * day),
      duration: { seconds: BigInt(8 * 86_400), nanos: 0 },
    } as Common;
    log.send(httpMessage(httpOf({}, at(clock.now() - 8 * day)), httpOf({}, long)));
    await log.finish();
    clock.advance(1000);
    await control.reported(1);
    const [report] = control.reports;
    expect([report?.lost, report?.accesses.map(({ ok }) => ok)]).toEqual([1n, [1n]]);
    expect(relay.status.logs.skipped).toEqual({ 'a time that is too far from now': 1 });
  });

  test('that are left out are counted, by reason', async () => {
    const { socket, clock, relay } = await openRelay();
    const log = new FakeLog(socket);
    log.send(httpMessage(httpOf({}, { ...at(clock.now()), intermediateLogEntry: true })));
    await log.finish();
    expect(Object.values(relay.status.logs.skipped)).toEqual([1]);
    expect(relay.metrics).toContain('interlock_relay_log_entries_skipped_total 1\n');
  });

  test('that broke off are told from those that ended', async () => {
    const { socket, clock, relay } = await openRelay();
    const log = new FakeLog(socket);
    log.send(httpMessage(httpOf({}, at(clock.now()))));
    await expect.poll(() => relay.status.logs.taken).toBe(1);
    log.breakOff();
    await expect
      .poll(() => Object.entries(relay.status.logs.skipped))
      .toEqual([[expect.stringContaining('broke off'), 1]]);
  });

  test('of another workload are refused, and so are other bytes', async () => {
    const { socket, events } = await openRelay();
    const other = new FakeLog(socket, { workload: 'spiffe://example.org/other' as SpiffeId });
    expect(await other.ended).toEqual({
      code: status.PERMISSION_DENIED,
      details: `this relay reports of ${APP}, not of spiffe://example.org/other`,
    });
    const bytes = new FakeLog(socket);
    bytes.send(Buffer.from([0xff, 0xff, 0xff]));
    expect((await bytes.ended).code).toBe(status.INVALID_ARGUMENT);
    expect(events.map(({ event }) => event)).toEqual(['logs-refused', 'logs-refused']);
  });
});

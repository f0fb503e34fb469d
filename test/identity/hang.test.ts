import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import { TestAgent, TestPlane, UID_RULE } from '../../src/server/testing.test-helper.ts';
import { type IdentityStore, openIdentityStore } from '../../src/store/index.ts';
import { Node, Opened, serialOf, Stream } from './harness.ts';
import { Watched } from './watched.ts';

const opened = new Opened();
afterEach(() => opened.close());

const WRITES: ReadonlySet<string | symbol> = new Set(['commit', 'takeJoinToken', 'useToken']);
/** How long the control plane waits for its store (recorder.ts). */
const STORE_WAIT_MS = 5000;
const RULE = UID_RULE.replace('ttl: 1h', 'when: "true", ttl: 1h');

/** A store whose writes never settle while it hangs: a disk that does not answer. */
class HangingStore extends Watched {
  hangs = false;
  /** What was asked for in vain: the name of the call and its first argument as JSON. */
  readonly asked: string[] = [];
  readonly store: IdentityStore;

  constructor(store: IdentityStore) {
    super();
    this.store = new Proxy(store, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        if (!this.hangs || !WRITES.has(name)) return value.bind(target) as unknown;
        return (first: unknown) => {
          this.asked.push(`${String(name)} ${JSON.stringify(first)}`);
          this.changed();
          return new Promise(() => {});
        };
      },
    });
  }

  /** Resolves once a write in which the text stands was asked for. */
  isAsked(text: string): Promise<true> {
    return this.until(
      () => this.asked.some((asked) => asked.includes(text)),
      `a write with ${text}`,
      () => this.asked.join('\n'),
    );
  }
}

async function planeWithHangingStore() {
  const plane = await TestPlane.make();
  opened.later(() => plane.remove());
  await plane.close();
  const hanging = new HangingStore(await openIdentityStore(plane.dir));
  await plane.open({ store: hanging.store });
  await plane.serve();
  await plane.apply(RULE);
  return { plane, hanging };
}

describe('a store that hangs', () => {
  test('makes agents come back later and keep what they have; nothing leaves that is not recorded', async () => {
    const { plane, hanging } = await planeWithHangingStore();
    const { timers } = plane;
    const address = `127.0.0.1:${plane.server.port}`;
    const node = await Node.online(opened, { address, token: await plane.token('node-1'), timers });
    const stream = Stream.open(opened, node.endpoint);
    const before = await stream.svid(() => true, 'an SVID');
    const seen = [stream.messages.length, stream.errors.length];

    hanging.hangs = true;
    // Half of its hour: the SVID is due for renewal.
    await timers.advance(30 * 60_000);
    await hanging.isAsked('"kind":"workload"');
    await timers.advance(STORE_WAIT_MS);
    await node.log.line('no SVID was signed for a workload', 'the database did not answer within 5 s');
    expect([stream.messages.length, stream.errors.length]).toEqual(seen);
    expect(node.agent.status()).toMatchObject({ online: true, svids: { held: 1 } });

    hanging.hangs = false;
    // The agent asks again within a second.
    await timers.advance(1000);
    const renewed = await stream.svid((svid) => serialOf(svid) !== serialOf(before), 'a new SVID');
    const after = serialOf(renewed);
    const recorded = (await plane.plane.store.issued({ kind: 'workload' })).map(({ serial }) => serial);
    expect(recorded.toSorted()).toEqual([serialOf(before), after].toSorted());
  });

  test('answers a node that attests itself with UNAVAILABLE, and lets none in', async () => {
    const { plane, hanging } = await planeWithHangingStore();
    const token = await plane.token('node-1');
    hanging.hangs = true;
    const attested = new TestAgent(plane).attest('join_token', token);
    const refused = attested.catch((error: unknown) => error);
    await hanging.isAsked('takeJoinToken');
    await plane.timers.advance(STORE_WAIT_MS);
    expect(await refused).toMatchObject({
      code: status.UNAVAILABLE,
      details: expect.stringContaining('the database did not answer within 5 s'),
    });
    expect(plane.plane.agents.list()).toEqual([]);
    hanging.hangs = false;
    await new TestAgent(plane).attest('join_token', token);
  });
});

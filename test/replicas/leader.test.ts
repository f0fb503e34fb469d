import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openPostgresStores, type PostgresStores } from '../../src/store/index.ts';
import { hasPostgres, type OwnServer, startServer } from '../../src/store/postgres/server.test-helper.ts';
import { newKeyFile, SharedPlane, whenTold } from './planes.test-helper.ts';
import { Wire } from './wire.test-helper.ts';

/** One that stands for leader, and when it led, by the clock of this process. */
class Standing {
  readonly spans: { readonly from: number; to: number }[] = [];
  holds = () => false;
  #wake = Promise.withResolvers<void>();
  stop = async () => {};

  static async at({ identity }: PostgresStores): Promise<Standing> {
    const standing = new Standing();
    standing.stop = await identity.lead((isLeader, holds = () => true) => {
      standing.holds = holds;
      const last = standing.spans.at(-1);
      if (isLeader) standing.spans.push({ from: performance.now(), to: Number.POSITIVE_INFINITY });
      else if (last !== undefined) last.to = performance.now();
      standing.#wake.resolve();
      standing.#wake = Promise.withResolvers();
    });
    return standing;
  }

  get leads(): boolean {
    return this.spans.at(-1)?.to === Number.POSITIVE_INFINITY;
  }

  async until(leads: boolean): Promise<void> {
    while (this.leads !== leads) await this.#wake.promise;
  }
}

describe.skipIf(!hasPostgres)('a leader whose connection swallows what is sent', () => {
  const HEARTBEAT = 1000;
  let server: OwnServer;
  const undo: (() => unknown)[] = [];

  beforeAll(async () => {
    server = await startServer(['fsync=off']);
  }, 60_000);
  afterEach(async () => {
    for (const step of undo.splice(0).toReversed()) await step();
  });
  afterAll(() => server?.stop(), 30_000);

  /** The same schema, each over a wire of its own. */
  async function wires(count: number): Promise<readonly Wire[]> {
    const direct = server.url();
    const all = await Promise.all(Array.from({ length: count }, () => Wire.to(direct)));
    undo.push(() => all.forEach((wire) => wire.close()));
    return all;
  }

  async function standing(url: string): Promise<Standing> {
    const stores = await openPostgresStores(url, { heartbeat: HEARTBEAT, patience: 2000 });
    undo.push(() => stores.close());
    return Standing.at(stores);
  }

  test('stops before another one begins, and there is another one, each time', async () => {
    const ends = await wires(3);
    const all: Standing[] = [];
    for (const { url } of ends) all.push(await standing(url));
    await Promise.any(all.map((each) => each.until(true)));
    for (let i = 0; i < 3; i++) {
      const at = all.findIndex(({ leads }) => leads);
      const [leader, end] = [all[at] as Standing, ends[at]];
      const others = all.filter((each) => each !== leader);
      end?.cut();
      await leader.until(false);
      // Nobody has taken its place while it led.
      expect(others.filter(({ leads }) => leads)).toEqual([]);
      await Promise.any(others.map((each) => each.until(true)));
      // What was held up comes late, or never.
      end?.mend(i % 2 === 0);
    }
    const spans = all.flatMap((each) => each.spans).toSorted((a, b) => a.from - b.from);
    expect(spans.length).toBeGreaterThanOrEqual(4);
    for (const [i, { to }] of spans.slice(0, -1).entries()) expect(to).toBeLessThan(spans[i + 1]?.from ?? 0);
  }, 120_000);

  test('does not lead for a moment when its process goes on after it stood still', async () => {
    const [end] = await wires(1);
    const leader = await standing(end?.url ?? '');
    await leader.until(true);
    expect(leader.holds()).toBe(true);
    // The whole process stands still, and so does the timer that would end it.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, HEARTBEAT * 3);
    expect([leader.leads, leader.holds()]).toEqual([true, false]);
    await leader.until(false);
    await leader.until(true);
    expect(leader.holds()).toBe(true);
  }, 60_000);

  test('is not the leader of control planes either: the other one leads, knows that it is silent, and says so', async () => {
    const [cut, direct] = await wires(2);
    const keyFile = newKeyFile();
    const [a, b] = [
      await SharedPlane.start({ url: cut?.url ?? '', keyFile }),
      await SharedPlane.start({ url: direct?.url ?? '', keyFile }),
    ];
    undo.push(
      () => a.close(),
      () => b.close(),
    );
    await a.leads();
    let atOnce = 0;
    b.plane.leadership.onChange((isLeader) => {
      if (isLeader && a.isLeader) atOnce++;
    });
    cut?.cut();
    await b.leads();
    expect([atOnce, a.isLeader]).toEqual([0, false]);
    const listed = (plane: SharedPlane) => plane.plane.replicas.list();
    const rowAt = async (at: SharedPlane, of: SharedPlane) =>
      (await listed(at)).find(({ id }) => id === of.plane.replicas.id);
    const look = () => Promise.all([rowAt(b, b), rowAt(b, a), rowAt(a, a), rowAt(a, b)]);
    type Rows = Awaited<ReturnType<typeof look>>;
    const rowsUntil = (fits: (rows: Rows) => boolean) =>
      whenTold(
        [a, b].map(
          ({ plane }) =>
            (heard) =>
              plane.replicas.subscribe(heard),
        ),
        look,
        fits,
      );
    // Each sees the other as silent, in time, and itself as it is.
    const rows = await rowsUntil(([, aAtB, , bAtA]) => aAtB?.isSilent === true && bAtA?.isSilent === true);
    expect(rows.map((row) => [row?.leads, row?.isReady, row?.isSilent])).toEqual([
      [true, true, false],
      [false, false, true],
      [false, false, false],
      [false, false, true],
    ]);
    cut?.mend(true);
    await rowsUntil((all) => all.every((row) => row?.isReady === true && !row.isSilent));
    expect([a.isLeader, b.isLeader]).toEqual([false, true]);
  }, 120_000);
});

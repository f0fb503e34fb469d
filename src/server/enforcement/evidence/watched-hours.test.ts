import { expect, test } from 'vitest';
import { ManualTimers } from '../../../node/manual-timers.test-helper.ts';
import { Points } from '../points.ts';
import { cart, web } from './evidence.test-helper.ts';
import { WatchedHours } from './watched-hours.ts';

test('a workload is watched while a point of it is connected, and no longer', async () => {
  const timers = new ManualTimers();
  const points = new Points(timers);
  const seen: string[][] = [];
  const evidence = {
    watched: (all: Iterable<{ readonly kind: string; readonly workloads: readonly string[] }>) =>
      void seen.push([...all].map(({ kind, workloads }) => `${kind} ${workloads.join(' ')}`)),
  };
  const watch = new WatchedHours({ points, evidence, timers });
  const made = { kind: 'proxy', version: '1' } as const;
  const { key } = points.connect({ ...made, identity: cart, instance: 'a', workloads: [cart, web] }, 0);
  points.connect({ ...made, kind: 'envoy', identity: web, instance: 'e', workloads: [web] }, 0);
  await timers.advance(10 * 60_000);
  points.disconnect(key);
  await timers.advance(10 * 60_000);
  watch.stop();
  await timers.advance(60 * 60_000);
  expect(seen).toEqual([[`proxy ${cart} ${web}`, `envoy ${web}`], [`envoy ${web}`]]);
});

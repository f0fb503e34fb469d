import { lastOf, type Scene } from '../scene.ts';
import { idOf, PROTECTED } from '../services.ts';

/** Shadow: live requests are judged, none is denied. And the button is proven before it is needed. */
export async function shadow(scene: Scene): Promise<void> {
  const { tell } = scene;
  tell.step('Shadow', 'Proxies judge every live request by the target and deny nothing.');
  const slowest: number[] = [];
  for (const name of PROTECTED) slowest.push(lastOf(await scene.move(name, 'shadow')));
  tell.say(
    `The proxies of ${PROTECTED.length} services confirmed, the slowest after ${Math.max(...slowest)} ms.`,
  );
  scene.command(`promote ${idOf('payment')} --to shadow`);
  await scene.watch();
  const { flips } = await scene.api.call('flips.list');
  tell.check('no live request would be denied', flips.length === 0, `${flips.length} flips`);
  scene.command('shadow');
  scene.legitimate();
  const refused = await scene.refusedFor('catalogue', 0.5);
  tell.check(
    'a promotion is refused while one of its gates is not passed',
    refused.join() === 'drill',
    `for catalogue: ${refused.join(', ') || 'nothing'}`,
  );
  scene.command(`preflight ${idOf('catalogue')}`);
  const drill = await scene.api.call('releases.drill', { body: {} });
  tell.check(
    'the button reaches every proxy (a drill)',
    drill.waiting.length === 0 && drill.confirmed.length > 0,
    `${drill.confirmed.length} of ${drill.confirmed.length + drill.waiting.length} proxies, the last after ${lastOf(drill)} ms`,
  );
  scene.command('release --drill');
  await tell.pause('start the canary');
}

/** Canaries that widen by themselves until everything is enforced. */
export async function canary(scene: Scene): Promise<void> {
  const { tell } = scene;
  tell.step(
    'Canary, then enforced',
    'Half of the proxies enforce first. It widens by itself while nobody is denied who should not be. Steps take seconds here: estate/gates.yaml.',
  );
  scene.command(`promote ${idOf('catalogue')} --to canary --share 50%`);
  await scene.move('catalogue', 'canary', 0.5);
  const steps: string[] = [];
  await scene.until('the canary of catalogue', async () => {
    const own = (await rollouts(scene)).find(({ workload }) => workload === idOf('catalogue'));
    const now = own === undefined ? 'none' : `${own.stage} ${own.share * 100} %`;
    if (now !== steps.at(-1)) steps.push(now);
    return own?.stage !== 'canary' && now;
  });
  tell.check(
    'a canary of one of two proxies widens by itself until it is enforced',
    steps.join() === 'canary 50 %,canary 100 %,enforced 100 %',
    steps.join(', '),
  );
  for (const name of PROTECTED.filter((other) => other !== 'catalogue'))
    await scene.move(name, 'canary', 0.5);
  const ends = await scene.until('the other canaries', async () => {
    const all = await rollouts(scene);
    return all.every(({ stage }) => stage !== 'canary') && all;
  });
  const enforced = ends.filter(({ stage }) => stage === 'enforced');
  tell.check(
    'every service is enforced',
    enforced.length === PROTECTED.length,
    `${enforced.length} of ${PROTECTED.length}`,
  );
  await scene.watch();
  scene.legitimate();
  scene.command('policy list');
  await tell.pause('let an attacker in');
}

async function rollouts(scene: Scene) {
  return (await scene.api.call('rollouts.list')).rollouts;
}

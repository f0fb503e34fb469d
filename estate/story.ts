import { Scene } from './scene.ts';
import { attack, audit, release, strict } from './steps/attacking.ts';
import { canary, shadow } from './steps/enforcing.ts';
import { learn, propose, rehearse, start } from './steps/learning.ts';
import type { Estate } from './supervisor.ts';
import type { Teller } from './teller.ts';

/**
 * The story of one rollout: learned, proposed, rehearsed, in shadow, a canary, enforced, attacked, released. Each step
 * is verified; the first that does not hold ends it. Throws `NotVerified`, `Died` where a process ends by itself, and
 * why it was aborted.
 */
export async function tellStory(tell: Teller, estate: Estate, signal: AbortSignal): Promise<Scene> {
  const scene = new Scene(tell, estate, signal);
  for (const step of [start, learn, propose, rehearse, shadow, canary]) await step(scene);
  const attackers = await attack(scene);
  await strict(scene, attackers);
  await release(scene, attackers);
  await audit(scene);
  return scene;
}

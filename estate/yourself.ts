import { setTimeout as pause } from 'node:timers/promises';
import { Scene } from './scene.ts';
import { idOf } from './services.ts';
import { start } from './steps/learning.ts';
import type { Estate } from './supervisor.ts';
import type { Teller } from './teller.ts';

const TARGET = 'payment';
const INTRUDER = 'mail';
const LOOK_MS = 500;
const TRIES_EVERY_MS = 2000;

/**
 * Starts the estate and leaves the rest to a person in the console: learn, review, promote, press the button. Once payment
 * is enforced, code inside mail tries to charge a card again and again, and what it is told is said. Goes on until it is
 * aborted, for the reason of which it throws; throws `Died` where a process ends by itself.
 */
export async function byYourself(tell: Teller, estate: Estate, signal: AbortSignal): Promise<never> {
  const scene = new Scene(tell, estate, signal);
  await start(scene);
  tell.step('It is yours', 'Nothing is enforced, and every call of the shop is learned. In the console:');
  tell.lines([
    'Review      what was learned is proposed, service by service: approve it',
    'Workloads   promote a service to shadow, then to canary: it goes on to enforced by itself',
    'Release     the red button, and its drill: promotions want a drill that was passed',
    'Map         everything that happens, as it happens',
  ]);
  tell.say(
    `Once ${TARGET} is enforced an attacker comes: code inside ${INTRUDER} that tries to charge a card.`,
  );
  const link = await scene.signInLink();
  if (link !== undefined)
    tell.say('Sign in (another link, should the first be used: this one works once, too):');
  if (link !== undefined) tell.lines([link]);
  await untilEnforced(scene, signal);
  const charge = await scene.shop.attacker(INTRUDER);
  for (let last = ''; ; ) {
    signal.throwIfAborted();
    const { status, error } = await Promise.race([charge('own-identity'), estate.children.died]);
    const told =
      status === undefined ? `no answer (${error})` : status === 403 ? 'denied (403)' : `${status}`;
    if (told !== last) tell.say(`The attacker inside ${INTRUDER} tries to charge a card: ${told}.`);
    last = told;
    await Promise.race([pause(TRIES_EVERY_MS, undefined, { signal }), estate.children.died]);
  }
}

async function untilEnforced({ api, estate }: Scene, signal: AbortSignal): Promise<void> {
  for (;;) {
    const { rollouts } = await Promise.race([api.call('rollouts.list'), estate.children.died]);
    const own = rollouts.find(({ workload }) => workload === idOf(TARGET));
    if (own?.stage === 'enforced') return;
    await Promise.race([pause(LOOK_MS, undefined, { signal }), estate.children.died]);
  }
}

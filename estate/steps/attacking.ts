import { setTimeout as pause } from 'node:timers/promises';
import type { Tried, Way } from '../programs/attacker.ts';
import { type Access, lastOf, type Scene } from '../scene.ts';
import { idOf, nameOf, PROTECTED } from '../services.ts';

const PAYMENT = idOf('payment');
const INTRUDER = 'mail';
const AGAIN_MS = 5;
const ANSWER_MS = 10_000;

/** Somebody on this machine who tries to charge a card. */
type Attacker = (way: Way) => Promise<Tried>;

/** Both attackers stay. */
export interface Attackers {
  readonly stranger: Attacker;
  readonly intruder: Attacker;
}

/** An attacker without an identity, and one with that of the wrong service. */
export async function attack(scene: Scene): Promise<Attackers> {
  const { tell } = scene;
  tell.step('An attacker', 'Somebody runs code on this machine and wants to charge a card: POST /charges.');
  const stranger = await scene.shop.attacker('stranger');
  const asked = await stranger('own-identity');
  tell.check(
    'a process that nobody vouches for gets no identity',
    asked.identity === undefined && asked.error?.includes('PERMISSION_DENIED') === true,
    asked.error ?? `it is ${asked.identity}`,
  );
  const bare = await stranger('no-certificate');
  tell.check(
    'without a certificate there is no TLS',
    bare.status === undefined && bare.error !== undefined,
    `${answerOf(bare)}; the proxy: "${await refusal(scene, 'no certificate')}"`,
  );
  const plain = await stranger('plain');
  tell.check('in plain text it is denied', plain.status === 403, answerOf(plain));
  await recorded(scene, ({ from }) => from.startsWith('unauthenticated:'), 'its denial is recorded');
  tell.say(`Now code that runs inside ${INTRUDER}: it has an identity, and calls payment with mutual TLS.`);
  const intruder = await scene.shop.attacker(INTRUDER);
  const stolen = await intruder('own-identity');
  tell.check(
    'a valid identity of the wrong service is denied',
    stolen.identity === idOf(INTRUDER) && stolen.status === 403,
    `${stolen.identity ?? 'nobody'}: ${answerOf(stolen)}`,
  );
  await recorded(scene, ({ from }) => from === idOf(INTRUDER), 'its denial is recorded, with its identity');
  scene.command(`access --to ${PAYMENT}`);
  scene.legitimate();
  await tell.pause('refuse plain text altogether');
  return { stranger, intruder };
}

/** From now on nobody speaks plain text to a service, not even to be told no. */
export async function strict(scene: Scene, { stranger }: Attackers): Promise<void> {
  const { tell } = scene;
  tell.step(
    'Strict',
    'Until now a proxy took plain text too, and judged it. From now on it takes mutual TLS alone.',
  );
  const slowest: number[] = [];
  for (const name of PROTECTED) {
    const { change } = await scene.api.call('rollouts.authenticate', {
      params: { workload: idOf(name) },
      body: { stage: 'strict' },
    });
    slowest.push(lastOf(await scene.confirmed(change)));
  }
  tell.say(
    `The proxies of ${PROTECTED.length} services confirmed, the slowest after ${Math.max(...slowest)} ms.`,
  );
  scene.command(`authentication ${PAYMENT} strict`);
  const plain = await stranger('plain');
  tell.check(
    'plain text gets no answer',
    plain.status === undefined && plain.error !== undefined,
    answerOf(plain),
  );
  const said = await refusal(scene, 'no mutual TLS');
  tell.check('the refusal is on record', said.includes('plain text'), said);
  await scene.watch();
  scene.legitimate();
  await tell.pause('press the red button');
}

/** The red button, and its end. */
export async function release(scene: Scene, { intruder }: Attackers): Promise<void> {
  const { tell } = scene;
  tell.step('The red button', 'Enforcement off everywhere, at once; authentication stays. Then on again.');
  const reason = 'checkout is failing';
  const pressed = performance.now();
  const { release: made, change } = await scene.api.call('releases.press', {
    body: { scope: { kind: 'all' }, reason, forMs: 600_000 },
  });
  const passed = await answers(scene, intruder, (tried) => tried.status === 200);
  const afterPress = Math.round(performance.now() - pressed);
  const released = await scene.confirmed(change);
  scene.command(`release --all --reason "${reason}" --for 10m`);
  tell.check(
    'what was denied passes',
    passed.status === 200,
    `${answerOf(passed)}, ${afterPress} ms after the button was pressed`,
  );
  tell.check(
    'every proxy has confirmed the release',
    released.confirmed.length > 0,
    `${released.confirmed.length} of ${released.confirmed.length} proxies, the last after ${lastOf(released)} ms`,
  );
  const armedAt = performance.now();
  const { change: armed } = await scene.api.call('releases.arm', { body: { id: made.id } });
  const denied = await answers(scene, intruder, (tried) => tried.status === 403);
  const afterArm = Math.round(performance.now() - armedAt);
  const back = await scene.confirmed(armed);
  scene.command('arm --all');
  tell.check(
    'armed, it is denied again',
    denied.status === 403,
    `${answerOf(denied)}, ${afterArm} ms later; ${back.confirmed.length} proxies confirmed, the last after ${lastOf(back)} ms`,
  );
  await scene.watch();
}

/** Nothing was lost, and everything stands in the log. */
export async function audit(scene: Scene): Promise<void> {
  const { tell } = scene;
  tell.step('What is left', 'Every act stands in a log whose entries are chained by hash.');
  const { entries } = await scene.api.call('audit.list', { query: { limit: 1000 } });
  const { isWhole } = await scene.api.call('audit.verify');
  tell.check('the audit log is whole', isWhole && entries.length > 0, `${entries.length} entries`);
  scene.command('authority audit --verify');
  scene.legitimate();
}

/** Waits until the control plane knows of a denied charge, and by which verdict. */
async function recorded(scene: Scene, isOf: (access: Access) => boolean, name: string): Promise<void> {
  const access = await scene.until(name, async () => {
    const { accesses } = await scene.api.call('accesses.list', { query: { to: PAYMENT } });
    return accesses.find((each) => isOf(each) && each.outcomes.denied > 0) ?? false;
  });
  const { today, outcomes, from, text } = access;
  // The proxy that denied it says by which rule, or that there was none.
  const line = await scene.until(`${name}: the line of the proxy`, async () =>
    denialOf(await scene.shop.proxyLog('payment'), from),
  );
  const who = from.startsWith('spiffe:') ? nameOf(from) : from;
  scene.tell.check(
    name,
    today?.allowed === false && line.action === text,
    `${who}, ${text}, denied ${times(outcomes.denied)}; the proxy: "${line.msg}"`,
  );
}

/** A line of a proxy's log that says who was denied what, and why. */
interface Denial {
  readonly event?: string;
  readonly caller?: string;
  readonly action?: string;
  readonly msg?: string;
}

/** The last denial of a caller in the log of a proxy. */
function denialOf(lines: readonly string[], from: string): Denial | false {
  for (const line of lines.toReversed()) {
    if (!line.startsWith('{')) continue;
    // The proxy's own log.
    const said = JSON.parse(line) as Denial;
    if (said.event !== 'denied') continue;
    if (said.caller === undefined ? from.startsWith('unauthenticated:') : said.caller === from) return said;
  }
  return false;
}

const times = (count: number) => (count === 1 ? 'once' : `${count} times`);

/** Tries again and again until the answer is this one. */
async function answers(scene: Scene, attacker: Attacker, is: (tried: Tried) => boolean): Promise<Tried> {
  const end = Date.now() + ANSWER_MS;
  for (;;) {
    const tried = await Promise.race([attacker('own-identity'), scene.estate.children.died]);
    if (is(tried) || Date.now() > end) return tried;
    await pause(AGAIN_MS);
  }
}

/** What the attacker was really told. */
const answerOf = ({ status, body, error }: Tried) =>
  status === undefined ? `no answer (${error})` : `${status} ${body?.trim().slice(0, 60)}`;

/** The last message in the log of payment's proxy that says this. */
async function refusal(scene: Scene, what: string): Promise<string> {
  const line = await scene.until(`the proxy says "${what}"`, async () => {
    const lines = await scene.shop.proxyLog('payment');
    return lines.findLast((each) => each.includes(what)) ?? false;
  });
  return /"msg":"([^"]*)"/.exec(line)?.[1] ?? line;
}

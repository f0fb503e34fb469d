import { type Access, type Scene, seconds, shown } from '../scene.ts';
import { idOf, PROTECTED, SERVICES } from '../services.ts';

/** Starts everything. */
export async function start(scene: Scene): Promise<void> {
  const { tell } = scene;
  tell.step(
    'Start',
    'A shop of ten services, each a program of its own behind a proxy of its own, with a control plane, an authority and an agent of their own. Programs speak plain text to their proxy; proxies speak mutual TLS.',
  );
  await scene.startPlane();
  const { authorities } = await scene.api.call('authorities.list');
  tell.say(
    `The control plane serves after ${seconds(tell.elapsed)}. Authorities that sign: ${authorities.length}, under a root that is kept apart.`,
  );
  if (tell.isWatched) {
    const link = await scene.signInLink();
    if (link !== undefined) tell.say('Watch it in the console (this link signs one person in, once):');
    if (link !== undefined) tell.lines([link]);
  }
  await scene.startShop();
  const { points } = await scene.api.call('points.list');
  const { identities } = await scene.api.call('identities.list');
  const services = Object.keys(SERVICES);
  const held = new Set(identities.map(({ spiffeId }) => spiffeId));
  tell.check(
    'every service has an identity of its own',
    services.every((name) => held.has(idOf(name))),
    `${services.filter((name) => held.has(idOf(name))).length} of ${services.length} services`,
  );
  tell.check(
    'every proxy is connected',
    points.length > services.length && points.every(({ connected }) => connected),
    `${points.length} proxies, ${scene.estate.children.count} processes, after ${seconds(tell.elapsed)}`,
  );
  scene.command('proxies');
}

/** Waits until everything that the programs do was seen. */
export async function learn(scene: Scene): Promise<void> {
  const { tell } = scene;
  tell.step(
    'Learn',
    'Nothing is enforced. Eight shoppers look around and buy, a job posts its report, and every proxy reports who asked what of whom.',
  );
  const [first] = await scene.until('the first access', async () => {
    const accesses = await scene.accesses();
    return accesses.length > 0 && accesses;
  });
  scene.firstAccessMs = Math.round(tell.elapsed);
  if (first !== undefined)
    tell.say(`The first access is known after ${seconds(scene.firstAccessMs)}: ${shown(first)}.`);
  const learned = await scene.until('every call of every program', () => allLearned(scene));
  const calls = learned.reduce((sum, { count }) => sum + count, 0);
  tell.check(
    'every call that the programs are made to make is learned',
    learned.length > 0,
    `${WAYS.length} calls that are made again and again, seen as ${learned.length} accesses, ${calls} times`,
  );
  const plain = learned.filter(({ authentication }) => authentication !== 'mutual');
  tell.check('every connection is mutual TLS', plain.length === 0, `${plain.length} accesses are not`);
  scene.legitimate();
  scene.command('access');
  await tell.pause('propose policies from it');
}

/** Each call that some program makes, as its configuration has it. */
const WAYS = Object.entries(SERVICES).flatMap(([from, { calls }]) =>
  calls.flatMap(([to, , ...asked]) => asked.map((ask) => ({ from: idOf(from), to: idOf(to), ask }))),
);

/** What was learned, once every call was seen, and nothing only once: that would be a doubt. */
async function allLearned(scene: Scene): Promise<readonly Access[] | false> {
  const accesses = await scene.accesses();
  const isSeen = (way: (typeof WAYS)[number]) =>
    accesses.some(({ from, to, action }) => from === way.from && to === way.to && isAsked(way.ask, action));
  if (!WAYS.every(isSeen)) return false;
  const proposals = await scene.proposals();
  return proposals.every(({ doubts }) => doubts.length === 0) && accesses;
}

/** Whether an action is what a program asks: "GET /products/*", or the method of a gRPC service. */
function isAsked(ask: string, action: Access['action']): boolean {
  if (action.kind === 'grpc') return action.method === ask;
  if (action.kind === 'tcp') return false;
  const [method = '', path = ''] = ask.split(' ');
  const segments = path.split('/');
  const given = action.path.split('/');
  return (
    action.method === method &&
    segments.length === given.length &&
    segments.every((segment, i) => segment === '*' || segment === given[i])
  );
}

/** Proposes policies, shows one, and takes them as targets. */
export async function propose(scene: Scene): Promise<void> {
  const { tell, policies } = scene;
  tell.step('Propose and review', 'What was learned becomes one least-privilege policy for each service.');
  const proposals = await scene.proposals();
  const sum = (of: (proposal: (typeof proposals)[number]) => number) =>
    proposals.reduce((total, proposal) => total + of(proposal), 0);
  const doubts = sum((proposal) => proposal.doubts.length);
  tell.check(
    'a policy is proposed for every service that is called',
    proposals.every(({ policy }) => policy !== undefined) && doubts === 0,
    `${proposals.length} policies, ${sum(({ rules }) => rules.length)} rules, ${doubts} doubts`,
  );
  await scene.run('propose', '--out', `${scene.estate.place.dir}/policies`);
  scene.command(`propose --out ${policies}`);
  const payment = proposals.find(({ workload }) => workload === idOf('payment'));
  if (payment !== undefined) {
    tell.say('The policy of payment, and what its rules rest on:');
    tell.lines(payment.yaml.split('\n').filter((line) => /^ +(tier:|rules:|- name:|from:|to:)/.test(line)));
    tell.lines(
      payment.rules.map(
        ({ rule, count, instances }) => `# ${rule}: ${count} calls of ${instances.join(', ')}`,
      ),
    );
  }
  await tell.pause('approve them');
  const approved = await Promise.all(PROTECTED.map((name) => approve(scene, name)));
  tell.check(
    'what is proposed is approved, and is the target of every service',
    approved.every(({ approvals: { need, by } }) => need > 0 && by.length >= need),
    `${approved.length} targets, each approved by its hash; nothing is enforced yet`,
  );
  scene.command(`review approve ${idOf('payment')} --all`);
}

/** Makes every change that is proposed for a service, as whoever decides its review does: it approves the target with it. */
async function approve(scene: Scene, name: string) {
  const params = { workload: idOf(name) };
  return scene.decided(async () => {
    const { target, changes } = await scene.api.call('reviews.get', { params });
    const body = { target, changes: changes.map(({ id }) => id) };
    return scene.api.call('reviews.approve', { params, body });
  });
}

/** Replays what was recorded against the policies. */
export async function rehearse(scene: Scene): Promise<void> {
  const { tell, policies } = scene;
  tell.step('Rehearse', 'Everything that was recorded is replayed against the policies.');
  const out = await scene.run('rehearse', `${scene.estate.place.dir}/policies`, '--json');
  // As `rehearse --json` is documented.
  const result = JSON.parse(out) as { flips: unknown[]; accesses: number; calls: number };
  tell.check(
    'nothing recorded would be denied',
    result.flips.length === 0 && result.accesses > 0,
    `${result.accesses} accesses standing for ${result.calls} calls; ${result.flips.length} would change`,
  );
  scene.command(`rehearse ${policies}`);
  await tell.pause('go to shadow');
}

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import { WholeClient } from '../xds/testing.test-helper.ts';
import { readRoutes } from './index.ts';
import {
  APP,
  closeAll,
  closeLater,
  DOCUMENT,
  enforced,
  NODE,
  openRelay,
  policy,
} from './relay.test-helper.ts';

afterEach(closeAll);

const SHADOW = { workload: APP, authentication: 'strict', stage: 'shadow', target: policy('/a') } as const;
const BUTTON = { reason: 'all else is down', by: 'local', at: 0 };

/** A relay that has had a state of the control plane in force, and was then ended. */
async function before(): Promise<string> {
  const { control, envoy, confirmed, close, dir } = await openRelay();
  control.state(5, enforced('/a'));
  envoy();
  await confirmed();
  await close();
  return dir;
}

describe('a state of the control plane', () => {
  test('is confirmed when Envoy has accepted it, and not before', async () => {
    const { control, envoy, confirmed } = await openRelay();
    control.state(5, enforced('/a'));
    expect(control.words).toEqual([]);
    const one = envoy();
    await confirmed();
    expect(control.words).toEqual(['5']);
    expect(one.isEnforcing).toBe(true);
    control.state(6, SHADOW);
    expect(control.words).toEqual(['5']);
    await confirmed();
    expect(control.words).toEqual(['5', '6']);
    expect(one.filters).toEqual(['interlock.target.allow', 'interlock.target.deny']);
  });

  test('that says what is in force already is confirmed anew: the button is proven by it', async () => {
    const { control, envoy, confirmed } = await openRelay();
    control.state(5, enforced('/a'));
    envoy();
    await confirmed();
    control.state(6, enforced('/a'));
    await confirmed();
    expect(control.words).toEqual(['5', '6']);
  });

  test('waits for two Envoys while one takes over from the other', async () => {
    const { control, envoy, confirmed, until, relay } = await openRelay();
    control.state(5, enforced('/a'));
    envoy();
    await confirmed();
    const second = envoy();
    await until(() => relay.status.envoys.length === 2);
    second.refuse = () => 'not yet';
    control.state(6, SHADOW);
    await until(() => relay.status.verdict.kind === 'refused');
    expect(control.words).toEqual(['5', expect.stringContaining('6 invalid_document')]);
  });

  test('is told as not in force while no Envoy is there, and confirmed when one comes', async () => {
    const { control, envoy, confirmed, clock } = await openRelay();
    control.state(5, enforced('/a'));
    clock.advance(10_000);
    expect(control.words).toEqual([
      '5 unavailable no Envoy is connected to the relay: it gets this when it comes',
    ]);
    envoy();
    await confirmed();
    expect(control.words.at(-1)).toBe('5');
  });

  test('is no longer in force when Envoy has left for ten seconds', async () => {
    const { control, envoy, confirmed, clock, until, relay } = await openRelay();
    control.state(5, enforced('/a'));
    const one = envoy();
    await confirmed();
    one.leave();
    await until(() => relay.status.verdict.kind === 'away');
    clock.advance(9999);
    expect(control.words).toEqual(['5']);
    clock.advance(1);
    expect(control.words.at(-1)).toContain('5 unavailable no Envoy');
    envoy();
    await confirmed();
    expect(control.words.at(-1)).toBe('5');
  });

  test('that cannot be rendered is refused, and the one before stays', async () => {
    const { control, envoy, confirmed } = await openRelay();
    control.state(5, enforced('/a'));
    const one = envoy();
    await confirmed();
    control.state(6, { ...enforced('/a'), workload: 'spiffe://example.org/other' as typeof APP });
    expect(control.words.at(-1)).toContain('6 invalid_document');
    expect(one.isEnforcing).toBe(true);
  });

  test('that Envoy can only enforce wider than it is written is said once, and stays to be seen', async () => {
    const tcp = DOCUMENT.replace('protocol: http', 'protocol: tcp, serverFirst: true');
    const { control, envoy, confirmed, events, relay } = await openRelay({
      routes: readRoutes(tcp, 'app.yaml', APP),
    });
    control.state(5, SHADOW);
    envoy();
    await confirmed();
    const wider = () => events.filter(({ event }) => event === 'wider');
    expect(wider()).toEqual([]);
    expect(relay.status.losses.target).toContainEqual(expect.objectContaining({ effect: 'wider' }));
    for (const version of [6, 7]) {
      control.state(version, enforced('/a'));
      await confirmed();
    }
    expect(wider()).toEqual([{ event: 'wider', detail: expect.stringContaining('speaks first') }]);
  });

  test('loses a rule at its end, without the control plane, and is confirmed as it was', async () => {
    const { control, envoy, confirmed, clock } = await openRelay();
    const until = new Date(clock.now() + 60_000).toISOString();
    const state = enforced('/while-moving');
    const [app] = policy('/while-moving');
    if (app === undefined) throw new Error('there is no policy');
    const rules = app.spec.rules.map((rule) => ({ ...rule, until }));
    const policies = [{ ...app, spec: { ...app.spec, rules } }];
    control.state(5, { ...state, enforced: policies, target: policies });
    const one = envoy();
    await confirmed();
    // The condition ends it where not even the relay is left.
    expect([one.routesSay('/while-moving'), one.routesSay(until)]).toEqual([true, true]);
    control.leave();
    control.isAway = true;
    clock.advance(59_999);
    expect(one.routesSay('/while-moving')).toBe(true);
    clock.advance(1);
    await one.until(() => !one.routesSay('/while-moving'));
    expect([one.isEnforcing, one.routesSay(until)]).toEqual([true, false]);
    await confirmed();
    expect(control.words).toEqual(['5']);
  });

  test('lets in the trust domains of the moment', async () => {
    const { control, envoy, confirmed, source } = await openRelay();
    control.state(5, SHADOW);
    const one = envoy();
    await confirmed();
    const { answers } = one;
    const [own] = source.state.bundles.values();
    if (own === undefined) throw new Error('the workload has no bundle');
    source.set({ bundles: new Map([...source.state.bundles, ['partner.example', own]]) });
    await confirmed();
    expect(one.answers).toBeGreaterThan(answers);
    // The same state: the control plane has heard of it.
    expect(control.words).toEqual(['5']);
  });
});

describe('the document', () => {
  test.each([
    ['of another workload', DOCUMENT.replace(APP, `${APP}/other`), 'and this relay serves'],
    [
      'that no Envoy can be given',
      DOCUMENT.replace('listen: 127.0.0.1', 'listen: localhost'),
      'write an IP address',
    ],
  ])('%s is refused', (_, text, message) => {
    expect(() => readRoutes(text, 'app.yaml', APP)).toThrow(message);
  });

  test('need not say whose it is', () => {
    expect(readRoutes(DOCUMENT.replace(/ {2}workload: .*\n/, ''), 'app.yaml', APP).workload).toBe(APP);
  });
});

describe('a state that Envoy refuses', () => {
  test('is told in its words, and the last good one goes back to it', async () => {
    const { control, envoy, confirmed, until, events, relay } = await openRelay();
    control.state(5, enforced('/a'));
    const one = envoy();
    await confirmed();
    one.refuse = (kind) => (kind === 'rds' ? 'Only unicorns are supported' : undefined);
    control.state(6, enforced('/b'));
    await until(() => events.some(({ event }) => event === 'refused'));
    one.refuse = () => undefined;
    expect(control.words).toEqual([
      '5',
      '6 invalid_document Envoy refused it: rds: Only unicorns are supported',
    ]);
    await confirmed();
    expect([one.routesSay('/a'), one.routesSay('/b')]).toEqual([true, false]);
    // What went back is nothing that the control plane waits for.
    expect(control.words).toHaveLength(2);
    expect(relay.status).toMatchObject({ stateVersion: 5, refused: { stateVersion: 6 } });
    control.state(7, enforced('/c'));
    await confirmed();
    expect(control.words.at(-1)).toBe('7');
    expect(relay.status).not.toHaveProperty('refused');
  });

  test('does not come back after a restart of Envoy and relay', async () => {
    const { control, envoy, confirmed, until, events, close, dir } = await openRelay();
    control.state(5, enforced('/a'));
    const one = envoy();
    await confirmed();
    one.refuse = () => 'no';
    control.state(6, enforced('/b'));
    await until(() => events.some(({ event }) => event === 'refused'));
    one.leave();
    await close();
    const again = await openRelay({ dir, openStream: undefined });
    const fresh = again.envoy();
    await again.confirmed();
    expect([fresh.routesSay('/a'), fresh.routesSay('/b')]).toEqual([true, false]);
  });

  test('is offered again when the control plane sends it again, and told again', async () => {
    const { control, envoy, confirmed, until, events } = await openRelay();
    control.state(5, enforced('/a'));
    const one = envoy();
    await confirmed();
    const refusals = () => events.filter(({ event }) => event === 'refused').length;
    for (const [version, count] of [
      [6, 1],
      [7, 2],
    ] as const) {
      one.refuse = (kind) => (kind === 'rds' ? 'no' : undefined);
      control.state(version, enforced('/b'));
      await until(() => refusals() === count);
      one.refuse = () => undefined;
      await confirmed();
      expect(control.words.at(-1)).toBe(`${version} invalid_document Envoy refused it: rds: no`);
    }
  });

  test('is not good for having been confirmed under a release', async () => {
    const { relay, control, envoy, confirmed, until, events } = await openRelay();
    control.state(5, enforced('/a'));
    const one = envoy();
    await confirmed();
    relay.policies.release(BUTTON);
    control.state(6, enforced('/b'));
    await confirmed();
    one.refuse = (kind) => (kind === 'rds' && one.isEnforcing === false ? 'no' : undefined);
    relay.policies.arm();
    await until(() => events.some(({ event }) => event === 'refused'));
    one.refuse = () => undefined;
    await confirmed();
    expect([one.isEnforcing, one.routesSay('/a'), one.routesSay('/b')]).toEqual([true, true, false]);
    expect(control.words.at(-1)).toBe('6 invalid_document Envoy refused it: rds: no');
  });

  test('because of something else does not keep later ones from it: a release least of all', async () => {
    const { control, envoy, confirmed, until, events } = await openRelay();
    control.state(5, enforced('/a'));
    const one = envoy();
    await confirmed();
    const refusals = () => events.filter(({ event }) => event === 'refused').length;
    one.refuse = (kind) => (kind === 'lds' ? 'address already in use' : undefined);
    control.state(6, enforced('/b'));
    // It, and the one that went back.
    await until(() => refusals() === 2);
    control.state(7, { ...SHADOW, released: { id: 'rel-1' } });
    await until(() => refusals() === 3);
    await one.until(() => one.isEnforcing === false);
    control.state(8, enforced('/c'));
    await until(() => refusals() === 4);
    await one.until(() => one.routesSay('/c'));
    expect(control.words.at(-1)).toBe('8 invalid_document Envoy refused it: lds: address already in use');
  });

  test('is not taken back where it is a release: what Envoy took of it counts', async () => {
    const { control, envoy, confirmed, until, events } = await openRelay();
    control.state(5, enforced('/a'));
    const one = envoy();
    await confirmed();
    one.refuse = (kind) => (kind === 'lds' ? 'no' : undefined);
    control.state(6, { ...SHADOW, released: { id: 'rel-1' } });
    await until(() => events.some(({ event }) => event === 'refused'));
    await one.until(() => one.isEnforcing === false);
    expect(events.at(-1)).toMatchObject({ event: 'refused', back: false });
  });

  test('is told of each state in the state-of-the-world protocol, and of none before Envoy has spoken of it', async () => {
    const { control, socket, until, events, relay } = await openRelay();
    const whole = (): WholeClient => {
      const client = new Client(`unix:${socket}`, credentials.createInsecure());
      closeLater(() => client.close());
      return new WholeClient(client, NODE);
    };
    const refusals = () => events.filter(({ event }) => event === 'refused').length;
    control.state(5, enforced('/a'));
    const one = whole();
    one.ask('cds');
    one.ack(await one.next());
    one.ask('lds');
    one.nack(await one.next(), 'no');
    await until(() => refusals() === 1);
    control.state(6, enforced('/b'));
    const again = await one.next();
    const second = whole();
    second.ask('cds');
    second.ack(await second.next());
    expect(relay.status.verdict).toEqual({ kind: 'waiting' });
    expect(control.words).toEqual(['5 invalid_document Envoy refused it: lds: no']);
    one.nack(again, 'no');
    await until(() => refusals() === 2);
    expect(control.words.at(-1)).toBe('6 invalid_document Envoy refused it: lds: no');
  });

  test('is told where there is no good one before it', async () => {
    const { control, envoy, until, relay, events } = await openRelay();
    const one = envoy();
    one.refuse = (kind) => (kind === 'lds' ? 'address already in use' : undefined);
    control.state(5, enforced('/a'));
    await until(() => relay.status.verdict.kind === 'refused');
    expect(control.words.at(-1)).toContain(
      '5 invalid_document Envoy refused it: lds: address already in use',
    );
    expect(events.at(-1)).toMatchObject({ event: 'refused', back: false });
  });
});

describe('with the control plane away', () => {
  test('Envoy starts from nothing with the last state', async () => {
    const { envoy, confirmed } = await openRelay({ dir: await before(), openStream: undefined });
    const one = envoy();
    await confirmed();
    expect(one.isEnforcing).toBe(true);
  });

  test('the button takes enforcement away, and says when Envoy has it; so does its end', async () => {
    const { relay, envoy, confirmed } = await openRelay({ dir: await before(), openStream: undefined });
    const one = envoy();
    await confirmed();
    relay.policies.release(BUTTON);
    expect(await relay.inForce()).toBeUndefined();
    // The target goes on being asked.
    expect(one.filters).toEqual(['interlock.target.allow', 'interlock.target.deny']);
    expect(relay.policies.arm()).toBe(1);
    expect(await relay.inForce()).toBeUndefined();
    expect(one.isEnforcing).toBe(true);
  });

  test('a release outlives relay and Envoy, and new states', async () => {
    const first = await openRelay({ dir: await before(), openStream: undefined });
    first.relay.policies.release(BUTTON);
    await first.close();
    const { envoy, confirmed, control } = await openRelay({ dir: first.dir });
    const one = envoy();
    await confirmed();
    expect(one.isEnforcing).toBe(false);
    control.state(9, enforced('/b'));
    await confirmed();
    expect([one.isEnforcing, one.routesSay('/b')]).toEqual([false, true]);
  });

  test('the button says that no Envoy is there, or that it has not answered', async () => {
    const { relay, envoy, confirmed, clock, until, dir } = await openRelay({
      dir: await before(),
      openStream: undefined,
    });
    relay.policies.release(BUTTON);
    expect(await relay.inForce()).toContain('no Envoy is connected');
    envoy();
    await confirmed();
    relay.policies.arm();
    const pressed = relay.inForce();
    clock.advance(3000);
    expect(await pressed).toBe('Envoy has not confirmed it yet');
    await until(() => relay.status.verdict.kind === 'confirmed');
    expect(dir).not.toBe('');
  });

  test('a damaged state denies everything, and can be released', async () => {
    const dir = await before();
    writeFileSync(join(dir, 'state/state.json'), '{"version": 5');
    const { relay, envoy, confirmed, faults } = await openRelay({ dir, openStream: undefined });
    expect(String(faults[0])).toContain('state.json is damaged');
    const one = envoy();
    await confirmed();
    expect([one.isEnforcing, one.routesSay('/a')]).toEqual([true, false]);
    relay.policies.release(BUTTON);
    expect(await relay.inForce()).toBeUndefined();
    expect(one.isEnforcing).toBe(false);
  });
});

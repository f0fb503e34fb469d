import { beforeEach, describe, expect, test } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { bundleWith, jwtKey, NOW, rootOf } from '../bundle/authorities.test-helper.ts';
import { type Bundle, formatBundle } from '../bundle/index.ts';
import { checkRelationship, FederationClient, type FederationRelationship, type Timers } from './index.ts';

const KEY = jwtKey('k').authority;
const ROOT = rootOf('example.org').der;

/** A clock that moves only when told, and the endpoints of the estate. */
class Estate implements Timers {
  time = NOW;
  #due: { at: number; run: () => void }[] = [];
  /** What each endpoint answers; a peer that is not here never answers. */
  readonly answers = new Map<string, () => Bundle | Error | string>();
  readonly looks: { trustDomain: string; at: number; trust: Bundle | undefined; signal: AbortSignal }[] = [];
  readonly pushed: [string, Bundle | undefined][] = [];
  refusePush = false;
  readonly client = new FederationClient({
    timers: this,
    random: () => 0,
    bundleOf: (trustDomain) => (trustDomain === 'own.example' ? OWN : undefined),
    onBundle: (trustDomain, bundle) => {
      if (this.refusePush) throw new InterlockError('io', 'store', 'the disk is full');
      this.pushed.push([trustDomain, bundle]);
    },
    fetchBundle: ({ trustDomain }, trust, signal) => {
      this.looks.push({ trustDomain, at: (this.time - NOW) / 1000, trust, signal });
      const answer = this.answers.get(trustDomain)?.();
      if (answer === undefined) return new Promise(() => {});
      if (answer instanceof Error) return Promise.reject(answer);
      return Promise.resolve(Buffer.from(typeof answer === 'string' ? answer : formatBundle(answer)));
    },
  });

  now(): number {
    return this.time;
  }

  after(ms: number, run: () => void): () => void {
    const entry = { at: this.time + ms, run };
    this.#due.push(entry);
    return () => {
      this.#due = this.#due.filter((other) => other !== entry);
    };
  }

  get waiting(): number {
    return this.#due.length;
  }

  /** Moves the clock, running what falls due in its order, and lets promises settle after each. */
  async pass(seconds: number): Promise<void> {
    const end = this.time + seconds * 1000;
    for (;;) {
      const [next] = this.#due.toSorted((a, b) => a.at - b.at);
      if (next === undefined || next.at > end) break;
      this.#due = this.#due.filter((other) => other !== next);
      this.time = Math.max(this.time, next.at);
      next.run();
      await settle();
    }
    this.time = end;
    await settle();
  }

  looksOf(trustDomain: string): number[] {
    return this.looks.filter((look) => look.trustDomain === trustDomain).map(({ at }) => at);
  }

  statusOf(trustDomain: string) {
    return this.client.status().find((peer) => peer.trustDomain === trustDomain);
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

const OWN = bundleWith({ trustDomain: 'own.example', x509Authorities: [ROOT] });
const bundleOf = (trustDomain: string, sequence: number, hint = 100): Bundle =>
  bundleWith({ trustDomain, jwtAuthorities: [KEY], sequence, refreshHint: hint });
const web = (trustDomain: string): FederationRelationship => ({
  trustDomain,
  endpointUrl: `https://${trustDomain}/bundle`,
  profile: { name: 'https_web' },
});
const spiffe = (trustDomain: string, id: string): FederationRelationship =>
  checkRelationship({ ...web(trustDomain), profile: 'https_spiffe', endpointSpiffeId: id }, 'own.example');

describe('the client', () => {
  let estate: Estate;
  beforeEach(() => {
    estate = new Estate();
  });

  test('fetches at once, then as the hint says, and pushes only what changed', async () => {
    let sequence = 1;
    estate.answers.set('a.example', () => bundleOf('a.example', sequence));
    estate.client.setRelationships([web('a.example')]);
    await estate.pass(250);
    expect(estate.looksOf('a.example')).toEqual([0, 100, 200]);
    expect(estate.pushed).toHaveLength(1);
    sequence = 2;
    await estate.pass(60);
    expect(estate.pushed.map(([, bundle]) => bundle?.sequence)).toEqual([1, 2]);
    expect(estate.statusOf('a.example')).toMatchObject({ isStale: false, failures: 0, isLooking: false });
  });

  test('a peer that never answers, one that fails and one that sends junk delay no other', async () => {
    estate.answers.set('good.example', () => bundleOf('good.example', 1));
    estate.answers.set('failing.example', () => new Error('connection refused'));
    estate.answers.set('junk.example', () => '<html>');
    const names = ['failing.example', 'good.example', 'hanging.example', 'junk.example'];
    estate.client.setRelationships(names.map(web));
    await estate.pass(350);
    expect(estate.looksOf('good.example')).toEqual([0, 100, 200, 300]);
    expect(estate.looksOf('failing.example')).toEqual([0, 2.5, 7.5, 17.5, 37.5, 77.5, 157.5, 307.5]);
    expect(estate.looksOf('hanging.example')).toEqual([0, 32.5, 67.5, 107.5, 157.5, 227.5, 337.5]);
    expect(estate.client.status().map(({ lastFault }) => lastFault?.message)).toEqual([
      'connection refused',
      undefined,
      'https://hanging.example/bundle did not answer within 30 s',
      'the bundle of junk.example is not JSON',
    ]);
    expect(estate.pushed.map(([name]) => name)).toEqual(['good.example']);
  });

  test('a look that is given up is also called off', async () => {
    estate.client.setRelationships([web('hanging.example')]);
    await estate.pass(31);
    expect(estate.looks[0]?.signal.aborted).toBe(true);
  });

  test('an outage keeps the bundle, and is shown as stale', async () => {
    let answer: Bundle | Error = bundleOf('a.example', 1);
    estate.answers.set('a.example', () => answer);
    estate.client.setRelationships([web('a.example')]);
    await estate.pass(1);
    answer = new Error('gone');
    await estate.pass(400);
    expect(estate.statusOf('a.example')).toMatchObject({ isStale: true, bundle: { sequence: 1 } });
    expect(estate.pushed).toHaveLength(1);
    answer = bundleOf('a.example', 2);
    await estate.pass(100);
    expect(estate.statusOf('a.example')).toMatchObject({
      isStale: false,
      failures: 0,
      bundle: { sequence: 2 },
    });
  });

  test('empty keys withdraw trust; a bundle of broken entries does not', async () => {
    let answer: Bundle | string = bundleOf('a.example', 1);
    estate.answers.set('a.example', () => answer);
    estate.client.setRelationships([web('a.example')]);
    await estate.pass(1);
    answer = '{"keys":[{"use":"jwt-svid","kty":"EC"}],"spiffe_sequence":2}';
    await estate.pass(200);
    expect(estate.statusOf('a.example')).toMatchObject({
      bundle: { sequence: 1 },
      lastFault: { code: 'invalid_document' },
    });
    answer = '{"keys":[],"spiffe_sequence":3}';
    await estate.pass(200);
    expect(estate.pushed.at(-1)?.[1]).toEqual(
      bundleWith({ trustDomain: 'a.example', jwtAuthorities: [], sequence: 3 }),
    );
  });

  test('an old bundle is not taken, until an operator sets the bundle by hand', async () => {
    let answer = bundleOf('a.example', 9);
    estate.answers.set('a.example', () => answer);
    estate.client.setRelationships([web('a.example')]);
    await estate.pass(1);
    answer = bundleOf('a.example', 2);
    await estate.pass(300);
    expect(estate.statusOf('a.example')).toMatchObject({
      bundle: { sequence: 9 },
      lastFault: { code: 'conflict' },
    });
    estate.client.setBundle(bundleOf('a.example', 1));
    expect(estate.pushed.at(-1)?.[1]?.sequence).toBe(1);
    await estate.pass(5);
    expect(estate.statusOf('a.example')).toMatchObject({ bundle: { sequence: 2 }, failures: 0 });
  });

  test('an https_spiffe endpoint is authenticated by the latest bundle of its own domain', async () => {
    let sequence = 2;
    estate.answers.set('a.example', () => bundleOf('a.example', sequence++));
    const known = new Map([['a.example', { bundle: bundleOf('a.example', 1) }]]);
    estate.client.setRelationships([spiffe('a.example', 'spiffe://a.example/server')], known);
    await estate.pass(250);
    expect(estate.looks.map(({ trust }) => trust?.sequence)).toEqual([1, 2, 3]);
  });

  test('an endpoint of a third domain is authenticated by that domain’s bundle, one of our own by ours', async () => {
    estate.answers.set('a.example', () => bundleOf('a.example', 1));
    estate.answers.set('hub.example', () => bundleOf('hub.example', 5));
    estate.answers.set('area.example', () => bundleOf('area.example', 1));
    estate.client.setRelationships([
      web('hub.example'),
      spiffe('a.example', 'spiffe://hub.example/server'),
      spiffe('area.example', 'spiffe://own.example/interlock/server'),
    ]);
    await estate.pass(10);
    expect(estate.looks.find((look) => look.trustDomain === 'a.example')?.trust?.trustDomain).toBe(
      'hub.example',
    );
    expect(estate.looks.find((look) => look.trustDomain === 'area.example')?.trust).toBe(OWN);
  });

  test('without the first bundle an https_spiffe endpoint is not even called', async () => {
    estate.client.setRelationships([spiffe('a.example', 'spiffe://a.example/server')]);
    await estate.pass(1);
    expect(estate.looks).toEqual([]);
    expect(estate.statusOf('a.example')?.lastFault).toMatchObject({
      code: 'untrusted',
      message:
        'the endpoint cannot be authenticated: there is no bundle of a.example yet; set its first one by hand',
    });
  });

  test('an unchanged peer is not disturbed, a changed one keeps its bundle, a removed one is withdrawn', async () => {
    for (const name of ['a.example', 'b.example', 'c.example']) {
      estate.answers.set(name, () => bundleOf(name, 1));
    }
    estate.client.setRelationships(['a.example', 'b.example', 'c.example'].map(web));
    await estate.pass(10);
    estate.client.setRelationships([
      web('a.example'),
      { ...web('b.example'), endpointUrl: 'https://new.example/b' },
    ]);
    expect(estate.pushed.at(-1)).toEqual(['c.example', undefined]);
    expect(estate.statusOf('b.example')).toMatchObject({ bundle: { sequence: 1 }, fetchedAt: NOW });
    await estate.pass(50);
    expect(estate.looksOf('a.example')).toEqual([0]);
    expect(estate.looksOf('b.example')).toEqual([0, 10]);
    await estate.pass(1000);
    expect(estate.looksOf('c.example')).toEqual([0]);
  });

  test('an answer that comes after its relationship is gone or changed is nobody’s', async () => {
    let answer: (bytes: Uint8Array) => void = () => {};
    const pushed: unknown[] = [];
    const client = new FederationClient({
      timers: estate,
      random: () => 0,
      onBundle: (...what) => pushed.push(what),
      fetchBundle: () => new Promise((resolve) => (answer = resolve)),
    });
    client.setRelationships([web('a.example')]);
    await estate.pass(0);
    client.setRelationships([]);
    answer(Buffer.from(formatBundle(bundleOf('a.example', 1))));
    await settle();
    expect(pushed).toEqual([['a.example', undefined]]);
    expect(client.status()).toEqual([]);
    expect(estate.waiting).toBe(0);
  });

  test('a bundle that could not be handed on is not held, and is offered again', async () => {
    estate.answers.set('a.example', () => bundleOf('a.example', 1));
    estate.refusePush = true;
    estate.client.setRelationships([web('a.example')]);
    await estate.pass(1);
    expect(estate.statusOf('a.example')).toMatchObject({
      bundle: undefined,
      lastFault: { message: 'the disk is full' },
    });
    estate.refusePush = false;
    await estate.pass(5);
    expect(estate.pushed).toHaveLength(1);
  });

  test('refresh looks now, joins a look under way, and the schedule goes on from there', async () => {
    estate.answers.set('a.example', () => bundleOf('a.example', 1));
    estate.client.setRelationships([web('a.example')]);
    await estate.pass(50);
    const [one, two] = await Promise.all([
      estate.client.refresh('a.example'),
      estate.client.refresh('a.example'),
    ]);
    expect([one, two]).toMatchObject([{ failures: 0 }, { failures: 0 }]);
    await estate.pass(101);
    expect(estate.looksOf('a.example')).toEqual([0, 50, 150]);
    await expect(estate.client.refresh('nobody.example')).rejects.toMatchObject({ code: 'not_found' });
    expect(() => estate.client.setBundle(OWN)).toThrow('there is no federation with own.example');
  });

  test('two relationships of one domain, or a kept bundle of another domain, change nothing', () => {
    estate.client.setRelationships([web('a.example')]);
    const twice = [web('b.example'), { ...web('b.example'), endpointUrl: 'https://x.example' }];
    expect(() => estate.client.setRelationships(twice)).toThrow('two relationships with b.example');
    const wrong = new Map([['c.example', { bundle: OWN }]]);
    expect(() => estate.client.setRelationships([web('c.example')], wrong)).toThrow(
      'is the one of own.example',
    );
    expect(estate.client.status().map(({ trustDomain }) => trustDomain)).toEqual(['a.example']);
  });

  test('after stop nothing runs and nothing is waited for', async () => {
    estate.answers.set('a.example', () => bundleOf('a.example', 1));
    estate.client.setRelationships(['a.example', 'hanging.example'].map(web));
    await estate.pass(1);
    estate.client.stop();
    await settle();
    expect(estate.waiting).toBe(0);
    expect(estate.looks.find(({ trustDomain }) => trustDomain === 'hanging.example')?.signal.aborted).toBe(
      true,
    );
  });
});

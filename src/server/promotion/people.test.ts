import { afterEach, describe, expect, test } from 'vitest';
import { type Caller, pathOf } from '../../api/index.ts';
import { readOwners } from '../../rollout/index.ts';
import { cart } from '../enforcement/evidence/evidence.test-helper.ts';
import { ANN, BEN, OLA, person, policy, PromotionPlane } from './promotion.test-helper.ts';

const CAT = person('cat', 'approver');
const CI: Caller = { ...OLA, who: 'user:https://ci.example#repo:acme/policies' };
const named = (who: string, ...roles: Parameters<typeof person>[1][]): Caller => ({
  ...person('x', ...roles),
  who,
});
const OWNERS = `ann = ${ANN.who} local:ann git:ann@acme.example\nnobody = ${CI.who}`;

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

/** A critical target that somebody has written, of which all but the approvals is passed. */
async function written(by: string, owners?: string) {
  const plane = await PromotionPlane.open(
    owners === undefined ? {} : { owners: readOwners(owners, 'OWNERS') },
  );
  undo.push(() => plane.api.close());
  plane.drill();
  await plane.apply(policy('/a', 'critical'), by);
  await plane.shadow();
  return plane;
}

describe('a critical target', () => {
  test('takes one approval more where its author may be one of those who approve, and says so', async () => {
    const plane = await written('local:root');
    await plane.approve(ANN, BEN);
    const missing = await plane.move(OLA, 'canary').catch((error: unknown) => error);
    expect(missing).toMatchObject({ status: 409 });
    const { gates } = await plane.call(OLA, 'preflight.get');
    expect(gates.find(({ name }) => name === 'approvals')).toMatchObject({
      passed: false,
      reason: expect.stringMatching(/^2 of 3.*because local:root wrote or promotes it and may be among them/),
    });
    expect((await plane.call(OLA, 'reviews.get')).approvals).toMatchObject({
      need: 3,
      notes: [expect.stringContaining('local:root')],
    });
    await plane.approve(CAT);
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['moved']);
  });

  test('is approved by none of the names of its author that the file of owners gives them, whichever it was written under', async () => {
    for (const [author, approver] of [
      ['local:ann', ANN],
      [ANN.who, named('local:ann', 'approver')],
      ['git:ann@acme.example', ANN],
    ] as const) {
      const plane = await written(author, OWNERS);
      const { target } = plane.reviews.approvalState(cart);
      await expect(plane.call(approver, 'reviews.approve', { target, changes: [] })).rejects.toMatchObject({
        status: 403,
      });
      await plane.approve(BEN, CAT);
      expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['moved']);
    }
  });

  test('is not approved twice by whoever makes two links, nor by one person through two ways in', async () => {
    const plane = await written(OLA.who);
    await plane.approve(named('link:1f2e3d4c', 'approver'), named('link:aabbccdd', 'approver'), ANN);
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['approvals']);
    await plane.approve(BEN);
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['moved']);
  });

  test('is moved on in spite of checks by nobody who may have written it', async () => {
    const plane = await written('link:1f2e3d4c');
    const boss = named(ANN.who, 'operator', 'approver');
    await expect(plane.move(boss, 'canary', { anyway: 'a fire' })).rejects.toMatchObject({
      status: 403,
      detail: expect.stringMatching(/link:1f2e3d4c has written of its target.*may be the same person/),
    });
  });
});

test.each([
  // Whom it names it could name to hide who has written it: somebody unknown is an author as well.
  ['nobody', true],
  ['witness', false],
])(
  'of a target that a job has synced which is %s, it is an author, and who wrote what is synced',
  async (whose, isHidden) => {
    const plane = await PromotionPlane.open({
      owners: readOwners(OWNERS.replace('nobody', whose), 'OWNERS'),
    });
    undo.push(() => plane.api.close());
    plane.drill();
    const body = {
      version: null,
      yaml: policy('/a', 'critical'),
      source: { name: 'acme/policies//' },
      marks: { own: 'x' },
      origins: { own: { file: 'own.yaml', authors: ['git:ann@acme.example'] } },
    };
    const path = pathOf('policies.sync', { workload: cart });
    expect((await plane.api.ask(CI, 'PUT', path, { body: JSON.stringify(body) })).status).toBe(200);
    expect(plane.rollouts.get(cart).authors).toEqual([CI.who, 'git:ann@acme.example']);
    await plane.shadow();
    const { target } = plane.reviews.approvalState(cart);
    await expect(plane.call(ANN, 'reviews.approve', { target, changes: [] })).rejects.toMatchObject({
      status: 403,
    });
    await plane.approve(BEN);
    const ben = named(BEN.who, 'operator', 'approver');
    if (isHidden) {
      await plane.approve(CAT);
      expect(await plane.missing(plane.move(CI, 'canary'))).toEqual(['approvals']);
      await expect(plane.move(ben, 'canary', { anyway: 'a fire' })).rejects.toMatchObject({
        status: 403,
        detail: expect.stringMatching(/git:\?.*may be the same person/),
      });
      await plane.approve(person('dora', 'approver'));
    } else {
      expect(await plane.missing(plane.move(CI, 'canary'))).toEqual(['approvals']);
      await plane.approve(CAT);
    }
    expect(await plane.missing(plane.move(CI, 'canary'))).toEqual(['moved']);
  },
);

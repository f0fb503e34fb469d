import { describe, expect, it } from 'vitest';
import type { Action, Principal } from '../../access/index.ts';
import { compile, decide } from '../../policy/index.ts';
import { DB, enforcement, policy, WEB } from '../proxy.test-helper.ts';
import { Verdicts } from './verdicts.ts';

const CALLER: Principal = { kind: 'workload', id: WEB };
const GET: Action = { kind: 'http', port: 80, method: 'GET', path: '/a' };
const allowing = policy([{ name: 'web', from: [{ workload: WEB }], to: [{ http: { paths: ['/a'] } }] }]);
const nothing = policy([]);

describe('verdicts', () => {
  it('enforce the set in force and report the target', () => {
    const verdicts = new Verdicts();
    verdicts.replace([enforcement([allowing], 'strict', [nothing])]);
    expect(verdicts.judge(DB, CALLER, GET)).toEqual({
      allowed: true,
      before: { allowed: true, decidedBy: 'rule', policy: 'db', rule: 'web' },
      after: { allowed: false, decidedBy: 'no-rule' },
    });
  });

  it('deny nothing where nothing is enforced', () => {
    const verdicts = new Verdicts();
    verdicts.replace([enforcement(undefined, 'strict', [nothing])]);
    expect(verdicts.judge(DB, CALLER, GET)).toMatchObject({ allowed: true, after: { allowed: false } });
    verdicts.replace([]);
    expect(verdicts.judge(DB, CALLER, GET)).toEqual({
      allowed: true,
      before: { allowed: true, decidedBy: 'no-policy' },
    });
    expect(verdicts.authenticationOf(DB)).toBe('strict');
  });

  it('are exchanged as a whole or not at all', () => {
    const verdicts = new Verdicts();
    verdicts.replace([enforcement([allowing])]);
    let told = 0;
    verdicts.onReplace(() => told++);
    const broken = { ...nothing, spec: { ...nothing.spec, rules: [{ name: 'x', from: [], to: [] }] } };
    expect(() => verdicts.replace([enforcement([broken])])).toThrow('empty');
    expect(() => verdicts.replace([enforcement([nothing]), enforcement([nothing])])).toThrow('twice');
    expect([verdicts.judge(DB, CALLER, GET).allowed, verdicts.version, told]).toEqual([true, 1, 0]);
    verdicts.replace([enforcement([nothing])]);
    expect([verdicts.judge(DB, CALLER, GET).allowed, verdicts.version, told]).toEqual([false, 2, 1]);
  });

  it('are closed in doubt where enforced, and open in shadow; either is counted', () => {
    const faults: unknown[] = [];
    const verdicts = new Verdicts((error) => faults.push(error));
    // A fault of ours, as none is known: a request that cannot be looked at.
    const hostile = {
      kind: 'http',
      port: 80,
      get method(): string {
        throw new Error('broken');
      },
      path: '/a',
    } as unknown as Action;
    verdicts.replace([enforcement([allowing])]);
    expect(verdicts.judge(DB, CALLER, hostile).allowed).toBe(false);
    verdicts.replace([enforcement(undefined, 'strict', [nothing])]);
    expect(verdicts.judge(DB, CALLER, hostile)).toEqual({
      allowed: true,
      before: { allowed: true, decidedBy: 'no-policy' },
    });
    expect([verdicts.faults, faults.length]).toEqual([2, 2]);
  });

  it('are those of decide', () => {
    const verdicts = new Verdicts();
    verdicts.replace([enforcement([allowing])]);
    const set = compile([allowing]);
    for (const path of ['/a', '/b', '//a', '/%61', '/a%2f', '/a/../a', '/{x}']) {
      const action: Action = { ...GET, path };
      expect(verdicts.judge(DB, CALLER, action).before).toEqual(
        decide(set, { from: CALLER, to: DB, action }),
      );
    }
  });
});

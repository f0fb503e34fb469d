import { hash } from 'node:crypto';
import {
  type Access,
  type Action,
  addCall,
  addInstance,
  emptyEvidence,
  HOUR_MS,
  type Outcome,
  parseSpiffeId,
  type Principal,
} from '../access/index.ts';
import type { AccessPolicy, Rule, Tier, Verdict } from '../policy/index.ts';
import type { FlipSeen, Rejection } from './review-types.ts';

export const id = (name: string) => parseSpiffeId(`spiffe://example.org/ns/shop/sa/${name}`);
export const cart = id('cart');
export const workload = (name: string): Principal => ({ kind: 'workload', id: id(name) });
export const http = (method: string, path: string, port = 80): Action => ({
  kind: 'http',
  port,
  method,
  path,
});
export const digest = (text: string) => hash('sha256', text, 'hex').slice(0, 24);

export interface Seen {
  readonly n?: number;
  /** Hours since 1970 UTC: one call each. */
  readonly hours?: readonly number[];
  readonly outcome?: Outcome;
  readonly instances?: readonly string[];
}

/** Calls of one caller to the cart. */
export function access(from: string, action: Action, seen: Seen = {}): Access {
  const evidence = emptyEvidence();
  const { n = 2, hours, outcome = 'ok', instances = ['a'] } = seen;
  for (const hour of hours ?? [100]) addCall(evidence, hour * HOUR_MS, outcome, hours === undefined ? n : 1);
  for (const instance of instances) addInstance(evidence, instance);
  evidence.sources.add('proxy');
  return {
    from: workload(from),
    to: workload('cart'),
    action,
    views: ['observed'],
    evidence,
    declared: [],
    collapsed: false,
  };
}

export function rule(
  name: string,
  caller: string,
  methods: readonly string[],
  path: string,
  more: Partial<Rule> = {},
): Rule {
  return {
    name,
    from: [{ workload: id(caller) }],
    to: [{ http: { methods, paths: [path] }, ports: [80] }],
    ...more,
  };
}

export function policy(
  rules: readonly Rule[],
  more: { deny?: readonly Rule[]; name?: string; tier?: Tier } = {},
): AccessPolicy {
  const { deny = [], name = 'cart', tier = 'standard' } = more;
  return {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name },
    spec: { protects: { workload: cart }, tier, stage: 'draft', rules, deny },
  };
}

export function flip(
  from: string,
  action: Action,
  more: { count?: number; after?: Verdict; days?: number } = {},
): FlipSeen {
  const { count = 1, after = { allowed: false, decidedBy: 'no-rule' }, days = 0 } = more;
  return {
    from: workload(from),
    to: cart,
    action,
    before: { allowed: true, decidedBy: 'no-policy' },
    after,
    count,
    firstSeen: 0,
    lastSeen: days * 24 * HOUR_MS,
  };
}

export function rejection(key: string, more: Partial<Rejection> = {}): Rejection {
  return { key, by: 'user:a', at: 0, reason: 'no', count: 2, days: 1, instances: 1, ...more };
}

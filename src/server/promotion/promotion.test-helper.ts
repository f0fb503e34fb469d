import { type Answer, type Caller, pathOf, type Role, type RouteName, ROUTES } from '../../api/index.ts';
import type { SpiffeId } from '../../access/index.ts';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { readPolicies, type Tier } from '../../policy/index.ts';
import { DEFAULT_GATES, type Gates, type PromotionCheck } from '../../rollout/index.ts';
import { callerWith, type TestApi, testApi } from '../api/testing.test-helper.ts';
import { accessAt, cart, reporterOf, reportOf, web } from '../enforcement/evidence/evidence.test-helper.ts';
import type { ServeOptions } from '../serve-options.ts';

export const HOUR = 3_600_000;
export const person = (name: string, ...roles: readonly Role[]) =>
  ({ ...callerWith('viewer', ...roles), who: `user:https://id.example#${name}` }) satisfies Caller;
export const ANN = person('ann', 'approver');
export const BEN = person('ben', 'approver');
export const OLA = person('ola', 'operator');
/** May do both. */
export const BOSS = person('boss', 'operator', 'approver');

/** How long a target stays in shadow here, hours: time goes second by second. */
export const SHADOW = 1 / 60;

/** The gates by default, but that some hours of evidence and a minute in shadow are enough. */
const easy = (tier: Tier) => ({
  ...DEFAULT_GATES[tier],
  shadowHours: SHADOW,
  surprises: 1e9,
  days: 0,
  hoursOfWeek: 0,
  monthEnd: false,
});
export const GATES: Gates = {
  critical: easy('critical'),
  standard: easy('standard'),
  experimental: easy('experimental'),
};

export const policy = (path = '/a', tier: Tier = 'standard', workload: SpiffeId = cart, name = 'own') => `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${name} }
spec:
  protects: { workload: ${workload} }
  tier: ${tier}
  rules: [ { name: r, from: [ { workload: ${web} } ], to: [ { http: { methods: [GET], paths: ['${path}'] }, ports: [80] } ] } ]
`;

/** What an API answered that did not do what it was asked. */
export interface Refused {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly checks?: readonly PromotionCheck[];
}

/** A control plane with a cart that the web calls, a proxy before it, and a clock that tests move. */
export class PromotionPlane {
  readonly api: TestApi;
  readonly timers: ManualTimers;
  #sequence = 1;

  private constructor(api: TestApi, timers: ManualTimers) {
    this.api = api;
    this.timers = timers;
  }

  static async open(options: Partial<ServeOptions> = {}): Promise<PromotionPlane> {
    const timers = new ManualTimers();
    const api = await testApi({ gates: GATES, timers, ...options });
    const made = new PromotionPlane(api, timers);
    const { enforcing, plane } = api.serving;
    const now = timers.now();
    const live = { issuedAt: now, notAfter: now + 365 * 24 * HOUR };
    // Whoever has the identity is not what these tests are about.
    plane.store.issued = () => Promise.resolve([live] as never);
    made.attach(cart);
    const calls = [5, 3, 1].map((hours) => accessAt(now - hours * HOUR, { ok: 5n }));
    await enforcing.evidence.take(reporterOf(), reportOf(1, { accesses: calls }));
    return made;
  }

  /** A proxy of a workload that confirms everything at once. */
  attach(workload: SpiffeId): void {
    const { hub } = this.api.serving.enforcing;
    const of = {
      kind: 'proxy',
      identity: workload,
      instance: 'a',
      workloads: [workload],
      version: 't',
    } as const;
    const link = { push: () => hub.confirm(`${workload}#a`, hub.version, link) };
    hub.attach(of, 0, link);
    hub.confirm(`${workload}#a`, hub.version, link);
  }

  get rollouts() {
    return this.api.serving.enforcing.rollouts;
  }

  get reviews() {
    return this.api.serving.api.reviews;
  }

  async apply(yaml: string, who = OLA.who): Promise<void> {
    await this.rollouts.apply(who, readPolicies(yaml));
  }

  /** Approves the target as it is. */
  async approve(...people: readonly Caller[]): Promise<void> {
    const { target } = this.reviews.approvalState(cart);
    for (const { who } of people) await this.reviews.approve(who, cart, { target, changes: [] });
  }

  /** A drill that every proxy passes. */
  drill(): void {
    this.api.serving.enforcing.releases.drilled('user:x', 1, 1);
  }

  /** Lets the target prove itself in shadow. */
  async shadow(): Promise<void> {
    await this.rollouts.move(OLA.who, cart, 'shadow');
    await this.pass(SHADOW * HOUR);
  }

  /** Time goes by, and faster than the store: what was given up meanwhile is known from here on. */
  async pass(ms: number): Promise<void> {
    await this.timers.advance(ms);
    await this.reviews.refresh(cart).catch(() => {});
  }

  /** What the proxy of the cart reports next. */
  async report(over: Parameters<typeof reportOf>[1]): Promise<void> {
    await this.api.serving.enforcing.evidence.take(reporterOf(), reportOf(++this.#sequence, over));
  }

  async call<Name extends RouteName>(
    who: Caller,
    name: Name,
    body?: object,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer<Name>> {
    const path = pathOf(name, ROUTES[name].path.includes(':') ? { workload: cart } : {});
    const answer = await this.api.ask(who, ROUTES[name].method, path, {
      body: body === undefined ? undefined : JSON.stringify(body),
      headers,
    });
    const data: unknown = await answer.json();
    if (answer.status !== 200) throw Object.assign(new Error(JSON.stringify(data)), data);
    return data as Answer<Name>;
  }

  move(who: Caller, to: string, more: object = {}, headers: Readonly<Record<string, string>> = {}) {
    return this.call(
      who,
      'rollouts.move',
      { to, ...(to === 'canary' ? { share: 0.5 } : {}), ...more },
      headers,
    );
  }

  /** The names of what is not passed, where a move is refused for it. */
  async missing(moved: Promise<unknown>): Promise<readonly string[]> {
    const refused = await moved.then(
      () => 'moved' as const,
      (error: unknown) => error as Refused,
    );
    if (refused === 'moved') return ['moved'];
    if (refused.checks === undefined) throw Object.assign(new Error('refused for another reason'), refused);
    return refused.checks.filter(({ passed }) => !passed).map(({ name }) => name);
  }

  /** The last entry of the audit log of an act. */
  async entry(act: string) {
    return (await this.api.serving.plane.store.audit(1, 1000)).findLast((each) => each.act === act);
  }
}

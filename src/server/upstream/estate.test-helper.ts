import { afterEach, expect } from 'vitest';
import {
  type AgentAttributes,
  SETTLE_MS,
  verifyX509Svid,
  writeWorkloadAttributes,
} from '../../identity/index.ts';
import { type TestAgent, type TestConnection, TestPlane, UID_RULE, WHO } from '../testing.test-helper.ts';
import { JoinedAuthorities } from './joined.ts';

/** What is to be done at the end of the test that runs. */
export const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

/** The rule that lets the control plane `a` be a child authority. */
export const rights = (downstream: string, trustDomain = 'b.example') => `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: a-authority }
spec:
  spiffeId: /authorities/a
  nodes: { selectors: ["agent:id:spiffe://${trustDomain}/interlock/agent/join_token/a"] }
  ttl: 1h
  downstream: ${downstream}
`;

/** A control plane of a.example, one of another trust domain or region, and an agent of the first. */
export class Estate {
  readonly warnings: string[] = [];
  readonly log: string[] = [];
  joined: JoinedAuthorities | undefined;
  readonly a: TestPlane;
  readonly b: TestPlane;

  private constructor(a: TestPlane, b: TestPlane) {
    this.a = a;
    this.b = b;
  }

  static async make(
    downstream = '{ prefixes: ["/uid/"], trustDomains: [a.example] }',
    domains = ['a.example', 'b.example'],
  ) {
    const [ofA = '', ofB = ''] = domains;
    // TLS looks at the machine's clock: the agents have had their time to connect, and it is not later than that.
    const a = await TestPlane.make({ trustDomain: ofA }, {}, Date.now() - SETTLE_MS);
    undo.push(() => a.remove());
    const b = await TestPlane.make({ trustDomain: ofB });
    undo.push(() => b.remove());
    await a.apply(UID_RULE);
    await b.apply(rights(downstream, ofB));
    const estate = new Estate(a, b);
    undo.push(() => estate.joined?.stop());
    await Promise.all([estate.serve(), b.serve()]);
    await a.timers.advance(SETTLE_MS);
    return estate;
  }

  async serve(): Promise<void> {
    await this.a.serve();
    this.a.plane.onWarning = (_, message) => this.warnings.push(message);
    this.joined = await JoinedAuthorities.open({
      plane: this.a.plane,
      timers: this.a.timers,
      version: 'test',
      log: {
        info: (_, message) => void this.log.push(message),
        warn: (fields, message) => void this.log.push(`${message} ${String(fields['error'])}`),
        error: (fields, message) => void this.log.push(`${message} ${String(fields['error'])}`),
      },
    });
  }

  async restart(): Promise<void> {
    this.joined?.stop();
    await this.a.close();
    await this.a.open();
    await this.serve();
  }

  get address(): string {
    return `127.0.0.1:${this.b.server.port}`;
  }

  async join(name = 'region-b') {
    const joinToken = await this.b.token('a');
    return this.joined?.join(WHO, { name, address: this.address, joinToken });
  }

  /** Waits for what the streams between them bring. */
  async until(holds: () => boolean): Promise<void> {
    for (let i = 0; !holds(); i++) {
      if (i > 500_000) throw new Error(`it did not happen: ${this.log.join('\n')}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** A stream of an agent that has confirmed the bundles of now. */
  async connect(agent: TestAgent, takesTargets = true): Promise<TestConnection> {
    const connection = agent.connect({ takesTargets });
    undo.push(() => connection.close());
    await connection.next('bundles');
    this.confirm(connection);
    return connection;
  }

  confirm(connection: TestConnection): void {
    const bundles = BigInt(this.a.plane.registry.bundles.current.version);
    connection.confirm({ bundles, rules: 0n, revocations: 0n });
  }

  async confirmed(): Promise<void> {
    const { registry, link, cutovers } = this.a.plane;
    await this.until(() => (link.oldestBundles() ?? 0) >= registry.bundles.current.version);
    await cutovers.startWaiting();
  }

  /** A cutover of everybody, under way. */
  async move(connection: TestConnection, share = 1): Promise<void> {
    await this.a.plane.cutovers.start(WHO, { id: 'c', from: 'default', to: 'region-b', share });
    this.confirm(connection);
    await this.confirmed();
    expect(this.a.plane.cutovers.list()[0]?.state).toBe('running');
  }

  /** The ID that a workload gets at its next renewal. */
  async idOf(connection: TestConnection, uid: number): Promise<string> {
    const { chain } = await connection.sign(uid, { spiffeId: `spiffe://${this.domain}/uid/${uid}` });
    const { bundles } = this.a.plane.registry.bundles.current.value;
    return verifyX509Svid(chain, { bundles, now: this.a.timers.now() }).spiffeId;
  }

  get domain(): string {
    return this.a.plane.registry.domain.trustDomain;
  }

  token(uid: number, agent: AgentAttributes, audience = ['db']) {
    const attributes = writeWorkloadAttributes({ unix: { uid, gid: uid, groups: [] } });
    const request = { spiffeId: `spiffe://${this.domain}/uid/${uid}`, rule: 'by-uid', attributes };
    return this.a.plane.desk.signJwt(agent, { ...request, takesTargets: true }, audience);
  }
}

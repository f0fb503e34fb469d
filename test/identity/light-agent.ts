import { parseSpiffeId } from '../../src/access/index.ts';
import type { Bundles, GivenIdentity } from '../../src/identity/index.ts';
import { trustByPin, joinTokenEvidence, systemTimers, type Timers } from '../../src/node/index.ts';
import { x509Signing } from '../../src/node/agent/signing.ts';
import { Link } from '../../src/node/link/link.ts';
import { attest, type ServerAccess, streamOpener } from '../../src/node/link/transport.ts';
import { readJoinToken } from '../../src/identity/index.ts';
import type { AgentSvid } from '../../src/node/state/agent-state.ts';
import type { HeldSvid } from '../../src/node/svids/svid.ts';
import type { BundleState, RevocationState, RuleState } from '../../src/proto/index.ts';
import { controlPlaneOf } from '../../src/workload/index.ts';
import { Watched } from './watched.ts';

export interface LightOptions {
  readonly address: string;
  readonly timers?: Timers;
  /** Whether it says that it has what it was sent; else a test says it. */
  readonly confirms?: boolean;
}

/** A node agent without workloads and sockets: the real link and transport, and what came over them. */
export class LightAgent extends Watched {
  readonly link: Link;
  readonly svid: AgentSvid;
  online = false;
  /** How often it was let in. */
  connections = 0;
  lastError: Error | undefined;
  bundles: BundleState | undefined;
  rules: RuleState | undefined;
  revocations: RevocationState | undefined;

  private constructor(options: LightOptions, access: ServerAccess, svid: AgentSvid) {
    super();
    this.svid = svid;
    const confirms = options.confirms ?? true;
    this.link = new Link({
      timers: options.timers ?? systemTimers,
      version: 'light',
      open: streamOpener(
        () => access,
        () => svid,
      ),
      held: () => ({ rulesVersion: this.rules?.version ?? 0n, serials: [] }),
      onRules: (state) => {
        this.rules = state;
        if (confirms) this.link.confirm({ rulesVersion: state.version });
        this.changed();
      },
      onBundles: (state) => {
        this.bundles = state;
        if (confirms) this.link.confirm({ bundlesVersion: state.version });
        this.changed();
      },
      onRevocations: (state) => {
        this.revocations = state;
        if (confirms) this.link.confirm({ revocationsVersion: state.version });
        this.changed();
      },
      onReplace: () => {},
      onOnline: (online, error) => {
        this.online = online;
        if (online) this.connections++;
        this.lastError = error ?? this.lastError;
        this.changed();
      },
    });
  }

  /** One that was attested before, and knows the control plane. */
  static known(options: LightOptions, svid: AgentSvid, bundles: Bundles): LightAgent {
    const { address, timers = systemTimers } = options;
    return new LightAgent(
      options,
      {
        address,
        trust: { bundles, server: controlPlaneOf(svid.spiffeId) },
        crls: [],
        now: () => timers.now(),
      },
      svid,
    );
  }

  /** Attests itself with the token. Rejects as the control plane refuses. */
  static async attest(options: LightOptions & { readonly token: string }): Promise<LightAgent> {
    const { address, token, timers = systemTimers } = options;
    const now = () => timers.now();
    const trust = await trustByPin(address, readJoinToken(token).pin ?? '', now());
    const access = { address, trust, crls: [], now };
    const { svid } = await attest(access, joinTokenEvidence(token));
    return new LightAgent(options, access, svid);
  }

  start(): this {
    this.link.start();
    return this;
  }

  connected(): Promise<true> {
    return this.until(
      () => this.online,
      'a connection',
      () => String(this.lastError),
    );
  }

  /** Asks for the SVID of a process of this user, by the rule `by-uid`. Rejects with the refusal. */
  sign(uid: number, replaces?: string): Promise<HeldSvid> {
    const attributes = { unix: { uid, gid: uid, groups: [] } };
    return x509Signing(this.link, 'ec-p256')(identityOf(uid), attributes, replaces);
  }

  close(): void {
    this.link.close();
  }
}

function identityOf(uid: number): GivenIdentity {
  return {
    rule: 'by-uid',
    spiffeId: parseSpiffeId(`spiffe://example.org/uid/${uid}`),
    ttl: 3_600_000,
    jwtTtl: 300_000,
    dnsNames: [],
    hint: '',
    federatesWith: [],
    authority: undefined,
  };
}

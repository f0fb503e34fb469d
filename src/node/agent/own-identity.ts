import { isInterlockError, type SpiffeId } from '../../access/index.ts';
import { type KeyAlgorithm, parseCertificate } from '../../identity/index.ts';
import type { BundleState } from '../../proto/index.ts';
import type { ApiLog } from '../api/callers.ts';
import { isPassing, type Link } from '../link/link.ts';
import type { Attested } from '../link/transport.ts';
import type { AgentState, AgentSvid } from '../state/agent-state.ts';
import { renewalTime } from '../svids/svid.ts';
import type { Timers } from '../timers.ts';
import { renewedAgent } from './signing.ts';

export interface OwnIdentityOptions {
  readonly timers: Timers;
  readonly state: AgentState;
  readonly log: ApiLog;
  readonly algorithm: KeyAlgorithm;
  /** Attests the node to the control plane. */
  readonly attest: () => Promise<Attested>;
  readonly onBundles: (state: BundleState) => void;
}

/** How long until a failed renewal is tried again. */
const RETRY_MS = 30_000;

/** The agent's own SVID: by attestation where there is none, and renewed at half of its life. */
export class OwnIdentity {
  readonly #options: OwnIdentityOptions;
  #svid: AgentSvid | undefined;
  /** The control plane did not accept the SVID: the next step is an attestation. */
  #isDoubted = false;
  #cancel: (() => void) | undefined;
  #cancelSave: (() => void) | undefined;

  constructor(options: OwnIdentityOptions) {
    this.#options = options;
    this.#svid = options.state.agent();
  }

  /** The SVID, or undefined before the first attestation and after its end. */
  get svid(): AgentSvid | undefined {
    if (this.#svid === undefined) return undefined;
    const leaf = parseCertificate(this.#svid.chain[0] ?? Buffer.alloc(0));
    return leaf.notAfter > this.#options.timers.now() ? this.#svid : undefined;
  }

  /** The ID of the last SVID, whether or not it has ended. */
  get id(): SpiffeId | undefined {
    return this.#svid?.spiffeId;
  }

  /** The SVID, attested for where there is none that is valid. Rejects as the attestation does. */
  async ensure(): Promise<AgentSvid> {
    const { svid } = this;
    if (svid !== undefined && !this.#isDoubted) return svid;
    // Where the attestation fails too (a join token is good for one), the SVID is tried again after it: a control plane
    // that refused it by mistake, its clock wrong for a minute, must not cost the node its identity.
    this.#isDoubted = false;
    const { svid: fresh, bundles } = await this.#options.attest();
    this.#options.onBundles(bundles);
    this.#keep(fresh);
    this.#options.log.info({ spiffeId: fresh.spiffeId, attestor: fresh.attestor }, 'this node is attested');
    return fresh;
  }

  /** The control plane does not accept the SVID: the node is attested anew before it is shown again. */
  doubt(): void {
    this.#isDoubted = true;
  }

  /** Renews over the link from now on, and connects anew with each new SVID. */
  renewOver(link: Link): void {
    const { svid } = this;
    if (svid === undefined) return;
    const { timers } = this.#options;
    const leaf = parseCertificate(svid.chain[0] ?? Buffer.alloc(0));
    this.#renewIn(renewalTime(leaf, timers.random()) - timers.now(), svid, link);
  }

  /** Renews within a time, where the SVID is of this authority (the hex key ID of its certificate). */
  replace(authority: string, overMs: number, link: Link): void {
    const { svid } = this;
    if (svid === undefined) return;
    const leaf = parseCertificate(svid.chain[0] ?? Buffer.alloc(0));
    if (leaf.authorityKeyId === authority) this.#renewIn(overMs * this.#options.timers.random(), svid, link);
  }

  #renewIn(ms: number, svid: AgentSvid, link: Link): void {
    this.#cancel?.();
    const { timers, log, algorithm } = this.#options;
    this.#cancel = timers.after(Math.max(0, ms), () => {
      const renew = async () => {
        this.#keep(await renewedAgent(link, svid, algorithm));
        link.reconnect();
      };
      renew().catch((error: unknown) => {
        log.warn({ error }, "the agent's own SVID could not be renewed; it is tried again");
        this.#cancel = timers.after(RETRY_MS, () => this.renewOver(link));
      });
    });
  }

  close(): void {
    this.#cancel?.();
    this.#cancelSave?.();
  }

  #keep(svid: AgentSvid): void {
    this.#svid = svid;
    this.#save(svid, true);
  }

  /** A full disk costs a restart its memory; the node is what it is all the same, and a join token is not taken twice. */
  #save(svid: AgentSvid, first: boolean): void {
    const { state, timers, log } = this.#options;
    try {
      state.saveAgent(svid);
      if (!first) log.info({ spiffeId: svid.spiffeId }, "the agent's own SVID is kept now");
    } catch (error) {
      if (first)
        log.warn({ error }, "the agent's own SVID could not be kept; it is tried until there is room");
      this.#cancelSave = timers.after(RETRY_MS, () => {
        if (this.#svid === svid) this.#save(svid, false);
      });
    }
  }
}

/** True for a refusal of the agent itself: its SVID is of no use any more. */
export function isRefusalOfAgent(error: unknown): boolean {
  return isInterlockError(error) && !isPassing(error) && error.code !== 'usage';
}

import { create } from '@bufbuild/protobuf';
import {
  Metadata,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { InterlockError, type SpiffeId } from '../../access/index.ts';
import type { AgentAttributes } from '../../identity/index.ts';
import {
  type AttestRequest as AttestMessage,
  type AttestResponse,
  AttestResponseSchema,
  PublishBundleResponseSchema,
  type PublishBundleRequest,
  type PublishBundleResponse,
  type PublishRevocationsRequest,
  type PublishRevocationsResponse,
  PublishRevocationsResponseSchema,
  type SignAuthorityRequest,
  type SignAuthorityResponse,
  SignAuthorityResponseSchema,
  type SignChildJwtRequest,
  type SignChildJwtResponse,
  SignChildJwtResponseSchema,
} from '../../proto/index.ts';
import type { Timers } from '../timers.ts';
import { attestOver } from './attest.ts';
import type { AgentDesk, Replacement, SignedCertificate } from './desk.ts';
import type { AgentListener, Peer } from './listener.ts';
import { bundleState } from './messages.ts';
import { AgentSession, type AgentStream, type Confirmed } from './session.ts';
import { statusOf } from './status.ts';

/** How long the first message of a stream, and an attestation, may take; milliseconds. */
const GREETING_MS = 10_000;
const ATTEST_MS = 30_000;
/** Calls of one child authority, beside its stream, that are worked on at once. */
const MAX_CALLS = 64;

export interface AgentServiceOptions {
  readonly desk: AgentDesk;
  readonly timers: Timers;
  readonly listener: () => AgentListener;
  /** An agent has come, gone, or confirmed a state. */
  readonly onChange: () => void;
  readonly onEvent: (event: AgentEvent) => void;
}

/** What the service tells the log. */
export interface AgentEvent {
  readonly event: 'connected' | 'disconnected' | 'refused' | 'fault';
  readonly who: string;
  readonly error?: unknown;
}

/** A connected agent as lists show it. */
export interface ConnectedAgent {
  readonly id: SpiffeId;
  readonly address: string;
  readonly version: string;
  readonly since: number;
  readonly confirmed: Confirmed;
  /** It takes IDs of the trust domains to which a cutover moves them. */
  readonly takesTargets: boolean;
}

/** The agents' gRPC service: who is connected, and what they are told. */
export class AgentService {
  readonly #options: AgentServiceOptions;
  readonly #sessions = new Map<AgentSession, Peer>();
  /** Unary calls under way, by who asks. */
  readonly #calls = new Map<SpiffeId, number>();
  #draining = false;

  constructor(options: AgentServiceOptions) {
    this.#options = options;
    options.desk.revocations.subscribe(() => this.#endRevoked());
  }

  /** What grpc-js takes, with `AgentService` of agent.proto. */
  implementation(): UntypedServiceImplementation {
    return {
      attest: (call: ServerDuplexStream<AttestMessage, AttestResponse>) => this.#attest(call),
      connect: (call: AgentStream) => this.#meet(call),
      signAuthority: (
        call: ServerUnaryCall<SignAuthorityRequest, SignAuthorityResponse>,
        done: sendUnaryData<SignAuthorityResponse>,
      ) => void this.#answer(call, done, (agent) => this.#signAuthority(agent, call.request)),
      publishBundle: (
        call: ServerUnaryCall<PublishBundleRequest, PublishBundleResponse>,
        done: sendUnaryData<PublishBundleResponse>,
      ) => void this.#answer(call, done, (agent) => this.#publishBundle(agent, call.request)),
      signChildJwt: (
        call: ServerUnaryCall<SignChildJwtRequest, SignChildJwtResponse>,
        done: sendUnaryData<SignChildJwtResponse>,
      ) => void this.#answer(call, done, (agent) => this.#signChildJwt(agent, call.request)),
      publishRevocations: (
        call: ServerUnaryCall<PublishRevocationsRequest, PublishRevocationsResponse>,
        done: sendUnaryData<PublishRevocationsResponse>,
      ) => void this.#answer(call, done, (agent) => this.#publishRevocations(agent, call.request)),
    };
  }

  /** The agents that are connected now. */
  connected(): ConnectedAgent[] {
    return [...this.#sessions].map(([{ agent, version, since, confirmed, takesTargets }, { address }]) => ({
      id: agent.agent.id,
      address,
      version,
      since,
      confirmed,
      takesTargets,
    }));
  }

  /** The smallest versions that all connected agents have confirmed; undefined where none is connected. */
  confirmedByAll(): Confirmed | undefined {
    let least: Confirmed | undefined;
    for (const { confirmed } of this.#sessions.keys()) {
      least = {
        bundles: Math.min(least?.bundles ?? Number.POSITIVE_INFINITY, confirmed.bundles),
        rules: Math.min(least?.rules ?? Number.POSITIVE_INFINITY, confirmed.rules),
        revocations: Math.min(least?.revocations ?? Number.POSITIVE_INFINITY, confirmed.revocations),
      };
    }
    return least;
  }

  /** Tells every connected agent to replace the SVIDs of an authority. */
  replace(replacement: Replacement): void {
    for (const session of this.#sessions.keys()) session.replace(replacement);
  }

  /** Ends the connection of an agent that may no longer act. */
  disconnect(id: string, error: InterlockError): void {
    for (const [session, peer] of this.#sessions) {
      if (session.agent.agent.id === id) this.#end(session, peer, error);
    }
  }

  /** Asks all agents to come back later, each at its own time up to `withinMs`; no new one is taken. */
  drain(withinMs: number): void {
    this.#draining = true;
    for (const session of this.#sessions.keys()) session.drain(withinMs);
  }

  #attest(call: ServerDuplexStream<AttestMessage, AttestResponse>): void {
    const { desk, timers, onEvent, listener } = this.#options;
    const address = listener().peerOf(call)?.address ?? 'unknown';
    const refuse = (error: unknown) => {
      onEvent({ event: 'refused', who: address, error });
      call.emit('error', statusOf(error));
    };
    if (this.#draining) return refuse(stopping());
    const answer = ({ spiffeId, chain }: SignedCertificate) => {
      const bundles = bundleState(desk.bundles.current, desk.trustDomain);
      call.write(
        create(AttestResponseSchema, {
          step: { case: 'svid', value: { spiffeId, chain: [...chain], bundles } },
        }),
      );
      call.end();
    };
    attestOver(call, address, desk, timers, ATTEST_MS).then(answer, refuse);
  }

  /** One that another control plane has attested a moment ago may not be known here yet. */
  #meet(call: AgentStream): void {
    const { desk, onEvent, listener } = this.#options;
    const id = listener().peerOf(call)?.identity?.spiffeId;
    if (id === undefined || desk.knows(id)) return this.#connect(call);
    let isGone = false;
    call.once('cancelled', () => (isGone = true));
    const met = async () => {
      try {
        await desk.meet(id);
        if (!isGone) this.#connect(call);
      } catch (error) {
        onEvent({ event: 'refused', who: id, error });
        if (!isGone) call.emit('error', statusOf(error));
      }
    };
    void met();
  }

  #connect(call: AgentStream): void {
    const { desk, timers, onChange, onEvent } = this.#options;
    let caller: { agent: AgentAttributes; peer: Peer };
    try {
      if (this.#draining) throw stopping();
      caller = this.#callerOf(call);
    } catch (error) {
      onEvent({ event: 'refused', who: this.#options.listener().peerOf(call)?.address ?? 'unknown', error });
      call.emit('error', statusOf(error));
      return;
    }
    const { agent, peer } = caller;
    const who = agent.agent.id;
    const session = new AgentSession(call, agent, desk, {
      since: timers.now(),
      onConfirmed: onChange,
      onRefused: (error) => onEvent({ event: 'refused', who, error }),
      onFault: (error) => onEvent({ event: 'fault', who, error }),
    });
    this.#sessions.set(session, peer);
    // The agent waits for the headers before it says hello.
    call.sendMetadata(new Metadata());
    onEvent({ event: 'connected', who });
    const cancelGreeting = timers.after(GREETING_MS, () => {
      if (!session.greeted) session.end(new InterlockError('usage', who, 'no "hello" came'));
    });
    const cancelEnd = this.#endWhenExpired(session, peer);
    const gone = () => {
      session.stop();
      cancelGreeting();
      cancelEnd();
      if (!this.#sessions.delete(session)) return;
      onEvent({ event: 'disconnected', who });
      onChange();
    };
    call.on('end', () => {
      call.end();
      gone();
    });
    call.on('cancelled', gone);
    call.on('close', gone);
    call.on('error', gone);
  }

  /** A connection ends with the identity that opened it; the agent comes back with its new one. */
  #endWhenExpired(session: AgentSession, peer: Peer): () => void {
    const { timers } = this.#options;
    let cancel = () => {};
    const look = () => {
      const left = (peer.identity?.notAfter ?? 0) - timers.now();
      if (left > 0) cancel = timers.after(left, look);
      else
        this.#end(
          session,
          peer,
          new InterlockError('untrusted', session.agent.agent.id, 'the SVID has expired'),
        );
    };
    look();
    return () => cancel();
  }

  #endRevoked(): void {
    for (const [session, peer] of this.#sessions) {
      const fault = this.#revoked(peer);
      if (fault !== undefined) this.#end(session, peer, fault);
    }
  }

  #revoked({ identity }: Peer): InterlockError | undefined {
    if (identity === undefined) return undefined;
    const { spiffeIds, serials } = this.#options.desk.revocations.current.value;
    if (!spiffeIds.has(identity.spiffeId) && !serials.has(identity.serial)) return undefined;
    return new InterlockError('untrusted', identity.spiffeId, `the identity ${identity.spiffeId} is revoked`);
  }

  /** The error reaches the agent before its connection is cut. */
  #end(session: AgentSession, peer: Peer, error: InterlockError): void {
    session.end(error);
    this.#options.timers.after(1000, () => peer.close());
  }

  /** Who calls: an agent that showed a certificate in force. Throws `untrusted` or `forbidden`. */
  #callerOf(call: { getPeer(): string }): { agent: AgentAttributes; peer: Peer } {
    const { desk, timers, listener } = this.#options;
    const peer = listener().peerOf(call);
    if (peer?.fault !== undefined) throw peer.fault;
    if (peer?.identity === undefined)
      throw new InterlockError(
        'untrusted',
        peer?.address ?? 'unknown',
        'this call needs the certificate of an agent',
      );
    const revoked = this.#revoked(peer);
    if (revoked !== undefined) throw revoked;
    if (peer.identity.notAfter <= timers.now())
      throw new InterlockError('untrusted', peer.identity.spiffeId, 'the SVID has expired');
    return { agent: desk.agentOf(peer.identity.spiffeId), peer };
  }

  async #answer<Response>(
    call: { getPeer(): string },
    done: sendUnaryData<Response>,
    work: (agent: AgentAttributes) => Promise<Response>,
  ): Promise<void> {
    try {
      const id = this.#options.listener().peerOf(call)?.identity?.spiffeId;
      if (id !== undefined && !this.#options.desk.knows(id)) await this.#options.desk.meet(id);
      const { agent } = this.#callerOf(call);
      done(null, await this.#inTurn(agent.agent.id, () => work(agent)));
    } catch (error) {
      this.#options.onEvent({
        event: 'refused',
        who: this.#options.listener().peerOf(call)?.address ?? 'unknown',
        error,
      });
      done(statusOf(error));
    }
  }

  async #inTurn<Response>(id: SpiffeId, work: () => Promise<Response>): Promise<Response> {
    const underWay = this.#calls.get(id) ?? 0;
    if (underWay >= MAX_CALLS)
      throw new InterlockError('limit', id, `${MAX_CALLS} calls of ${id} are under way already`);
    this.#calls.set(id, underWay + 1);
    try {
      return await work();
    } finally {
      const left = (this.#calls.get(id) ?? 1) - 1;
      if (left === 0) this.#calls.delete(id);
      else this.#calls.set(id, left);
    }
  }

  async #signAuthority(
    agent: AgentAttributes,
    request: SignAuthorityRequest,
  ): Promise<SignAuthorityResponse> {
    const { desk } = this.#options;
    const { chain } = await desk.signAuthority(agent, request.csr, request.ttlSeconds * 1000);
    const bundles = bundleState(desk.bundles.current, desk.trustDomain);
    return create(SignAuthorityResponseSchema, { chain: [...chain], bundles });
  }

  async #publishBundle(
    agent: AgentAttributes,
    { bundle }: PublishBundleRequest,
  ): Promise<PublishBundleResponse> {
    if (bundle === undefined) throw new InterlockError('usage', agent.agent.id, 'a bundle is missing');
    const version = await this.#options.desk.publishBundle(agent, bundle.trustDomain, bundle.jwks);
    return create(PublishBundleResponseSchema, { version: BigInt(version) });
  }

  async #signChildJwt(
    agent: AgentAttributes,
    { spiffeId, audience, ttlSeconds }: SignChildJwtRequest,
  ): Promise<SignChildJwtResponse> {
    const request = { spiffeId, audience, ttl: ttlSeconds * 1000 };
    const { token, issuedAt, expiresAt, authority } = await this.#options.desk.signChildJwt(agent, request);
    return create(SignChildJwtResponseSchema, {
      token,
      issuedAt: BigInt(issuedAt),
      expiresAt: BigInt(expiresAt),
      authority,
    });
  }

  async #publishRevocations(
    agent: AgentAttributes,
    { authorities, spiffeIds }: PublishRevocationsRequest,
  ): Promise<PublishRevocationsResponse> {
    const bytes = (der: Uint8Array) => Buffer.from(der);
    const skipped = await this.#options.desk.publishRevocations(agent, {
      authorities: authorities.map(({ chain, crl }) => ({ chain: chain.map(bytes), crl: bytes(crl) })),
      spiffeIds,
    });
    return create(PublishRevocationsResponseSchema, { skipped });
  }
}

function stopping(): InterlockError {
  return new InterlockError(
    'unavailable',
    'control plane',
    'the control plane is stopping: come back in a while',
  );
}

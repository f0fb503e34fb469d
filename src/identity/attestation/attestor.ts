import { InterlockError, parseSpiffeId } from '../../access/index.ts';
import { type AgentAttributes, agentSelectors, type Claim } from '../registration/index.ts';

/** What an attestor may use beside the evidence. */
export interface AttestContext {
  readonly trustDomain: string;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** The agent's certificate request (DER): evidence can be bound to its key. */
  readonly csr: Uint8Array;
  /** Sends a challenge to the agent and gives its answer. */
  challenge(challenge: Uint8Array): Promise<Uint8Array>;
}

/** What an attestor found out about a node. */
export interface Attested {
  /** One to eight path segments that name the agent below /interlock/agent/ATTESTOR/. */
  readonly name: string;
  /** In the attestor's own forms, as in `k8s_psat:cluster:prod`. */
  readonly selectors: readonly string[];
  readonly claims: Readonly<Record<string, Claim>>;
  /** Whether the node can prove itself again once its SVID is lost; a join token cannot. */
  readonly reattestable: boolean;
  /** When the agent's identity ends for good, milliseconds since 1970; absent for never. */
  readonly endsAt?: number;
}

/** One way for a node to prove what it is. `attest` throws InterlockError with the reason. */
export interface NodeAttestor {
  readonly name: string;
  attest(payload: Uint8Array, context: AttestContext): Promise<Attested>;
}

/** Largest evidence, in bytes; the largest is a chain of certificates. */
export const MAX_EVIDENCE_BYTES = 256 * 1024;

const MAX_NAME_SEGMENTS = 8;
const NAME = /^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/;

/** Why a text cannot name an agent, or undefined. */
export function agentNameFault(name: string): string | undefined {
  if (!NAME.test(name) || name.split('/').some((part) => part === '.' || part === '..'))
    return `"${clip(name)}" cannot name an agent: use letters, digits, ".", "-", "_", and "/" between parts`;
  if (name.split('/').length > MAX_NAME_SEGMENTS)
    return `"${clip(name)}" has more than ${MAX_NAME_SEGMENTS} parts`;
  return name.length > 1024 ? `"${clip(name)}" is too long` : undefined;
}

/**
 * The agent that was attested. `area` is the prefix of an authority that is limited to one ("/area/payments/"): its
 * agents stand inside it. Throws `invalid_identity` for a name that is none.
 */
export function attestedAgent(
  trustDomain: string,
  attestor: string,
  attested: Attested,
  area = '/',
): AgentAttributes {
  const fault = agentNameFault(attested.name);
  if (fault !== undefined) throw new InterlockError('invalid_identity', clip(attested.name), fault);
  const id = parseSpiffeId(`spiffe://${trustDomain}${area}interlock/agent/${attestor}/${attested.name}`);
  return {
    agent: { id, attestor },
    selectors: agentSelectors(id, attestor, attested.selectors),
    claims: attested.claims,
    ...(attested.endsAt === undefined ? {} : { endsAt: attested.endsAt }),
  };
}

/** The attestor of this name. Throws `invalid_document` that lists those there are. */
export function attestorNamed(attestors: ReadonlyMap<string, NodeAttestor>, name: string): NodeAttestor {
  const attestor = attestors.get(name);
  if (attestor !== undefined) return attestor;
  const known = [...attestors.keys()].join(', ');
  throw new InterlockError(
    'invalid_document',
    clip(name),
    `no attestor is called "${clip(name)}" here: ${known === '' ? 'none is set up' : `use ${known}`}`,
  );
}

function clip(text: string): string {
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

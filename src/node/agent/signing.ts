import { InterlockError, pathOf, type SpiffeId, spiffeIdOf, trustDomainOf } from '../../access/index.ts';
import {
  createRequest,
  exportPkcs8,
  generateKey,
  type KeyAlgorithm,
  MAX_ATTRIBUTES_BYTES,
  parseCertificate,
  spkiOf,
  type WorkloadAttributes,
  writeWorkloadAttributes,
} from '../../identity/index.ts';
import type { Link } from '../link/link.ts';
import type { AgentSvid } from '../state/agent-state.ts';
import type { SignSvid } from '../svids/svid-cache.ts';
import type { SignJwt } from '../workloads/jwt-cache.ts';

/** Signs workloads' X509-SVIDs over the link: a new key for each, which leaves the agent only to its workload. */
export function x509Signing(
  link: Link,
  algorithm: KeyAlgorithm,
  isTarget: (trustDomain: string) => boolean = () => false,
): SignSvid {
  return async ({ spiffeId, rule }, attributes, replaces) => {
    const told = attributesToSend(spiffeId, attributes);
    const key = generateKey(algorithm);
    const answer = await link.ask((request) => ({
      case: 'signX509',
      value: {
        $typeName: 'interlock.agent.v1.SignX509',
        request,
        spiffeId,
        rule,
        attributes: told,
        csr: createRequest(key),
        replaces: Buffer.from(replaces ?? '', 'hex'),
      },
    }));
    if (answer.case !== 'signedX509') throw wrongAnswer();
    const chain = answer.value.chain.map((der) => Buffer.from(der));
    const leaf = leafOf(chain, spkiOf(key));
    if (leaf.spiffeId === undefined || !isOrMoved(leaf.spiffeId, spiffeId, isTarget)) throw wrongAnswer();
    const { serial, notBefore, notAfter } = leaf;
    const { authority } = answer.value;
    return { spiffeId: leaf.spiffeId, serial, chain, key: exportPkcs8(key), notBefore, notAfter, authority };
  };
}

/** Signs workloads' JWT-SVIDs over the link. */
export function jwtSigning(link: Link, isTarget: (trustDomain: string) => boolean = () => false): SignJwt {
  return async ({ spiffeId, rule }, attributes, audience) => {
    const told = attributesToSend(spiffeId, attributes);
    const answer = await link.ask((request) => ({
      case: 'signJwt',
      value: {
        $typeName: 'interlock.agent.v1.SignJwt',
        request,
        spiffeId,
        rule,
        attributes: told,
        audience: [...audience],
      },
    }));
    if (answer.case !== 'signedJwt') throw wrongAnswer();
    const { token, issuedAt, expiresAt } = answer.value;
    const subject = subjectOf(token);
    if (subject === undefined || !isOrMoved(subject, spiffeId, isTarget)) throw wrongAnswer();
    return { spiffeId: subject, token, issuedAt: Number(issuedAt), expiresAt: Number(expiresAt) };
  };
}

/** Gives the agent itself a new SVID, with a new key. */
export async function renewedAgent(link: Link, svid: AgentSvid, algorithm: KeyAlgorithm): Promise<AgentSvid> {
  const key = generateKey(algorithm);
  const csr = createRequest(key);
  const answer = await link.ask((request) => ({
    case: 'renew',
    value: { $typeName: 'interlock.agent.v1.Renew', request, csr },
  }));
  if (answer.case !== 'signedX509') throw wrongAnswer();
  const chain = answer.value.chain.map((der) => Buffer.from(der));
  if (leafOf(chain, spkiOf(key)).spiffeId !== svid.spiffeId) throw wrongAnswer();
  return { ...svid, chain, key: exportPkcs8(key) };
}

/** Whether it is the ID that was asked for, or the same path in a trust domain to which the control plane moves IDs. */
function isOrMoved(got: SpiffeId, asked: SpiffeId, isTarget: (trustDomain: string) => boolean): boolean {
  return got === asked || (pathOf(got) === pathOf(asked) && isTarget(trustDomainOf(got)));
}

/** Whose token it says that it is; who gets it verifies it. */
function subjectOf(token: string): SpiffeId | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    const subject = typeof claims === 'object' && claims !== null && 'sub' in claims ? claims.sub : undefined;
    return typeof subject === 'string' ? spiffeIdOf(subject) : undefined;
  } catch {
    return undefined;
  }
}

/** A message larger than the control plane takes would end the stream, and with it everybody's renewals. */
function attributesToSend(spiffeId: SpiffeId, attributes: WorkloadAttributes): Uint8Array {
  const json = writeWorkloadAttributes(attributes);
  if (json.byteLength <= MAX_ATTRIBUTES_BYTES) return json;
  throw new InterlockError(
    'limit',
    spiffeId,
    `the attributes of a workload for ${spiffeId} have ${json.byteLength} bytes; at most ${MAX_ATTRIBUTES_BYTES} are taken: give its container fewer labels`,
  );
}

function leafOf(chain: readonly Buffer[], spki: Buffer) {
  const [der] = chain;
  if (der === undefined) throw wrongAnswer();
  const leaf = parseCertificate(der);
  if (!leaf.spki.equals(spki)) throw wrongAnswer();
  return leaf;
}

function wrongAnswer(): InterlockError {
  return new InterlockError(
    'unavailable',
    'control plane',
    'the control plane answered with something that was not asked for',
  );
}

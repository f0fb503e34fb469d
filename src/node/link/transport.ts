import { create } from '@bufbuild/protobuf';
import { Client, type ClientDuplexStream, credentials, type ServiceError, status } from '@grpc/grpc-js';
import { type ErrorCode, InterlockError, isInterlockError, parseSpiffeId } from '../../access/index.ts';
import {
  createRequest,
  exportPkcs8,
  generateKey,
  type KeyAlgorithm,
  pem,
  pemOf,
} from '../../identity/index.ts';
import {
  AgentService,
  type AttestRequest,
  AttestRequestSchema,
  type AttestResponse,
  type BundleState,
  type FromAgent,
  FromAgentSchema,
  type FromServer,
  grpcService,
} from '../../proto/index.ts';
import { shownCertificates } from '../../workload/index.ts';
import type { AgentSvid } from '../state/agent-state.ts';
import type { OpenStream } from './link.ts';
import { assertServer, type ServerTrust } from './server-trust.ts';

const service = grpcService(AgentService);
const ATTEST_MS = 30_000;
/** How long the control plane may take to let the agent in; somebody who takes the connection and says nothing never would. */
const OPEN_MS = 30_000;

/** How to reach the control plane and how to know it. */
export interface ServerAccess {
  readonly address: string;
  readonly trust: ServerTrust;
  readonly crls: readonly Buffer[];
  readonly now: () => number;
}

/** An attestor's evidence for this node. */
export interface NodeEvidence {
  readonly attestor: string;
  readonly payload: () => Promise<Uint8Array>;
  /** It is good for one attestation: one that was refused will not be taken later. */
  readonly once?: true | undefined;
  /** Answers a challenge of the server, where the attestor has one. */
  readonly answer?: ((challenge: Uint8Array, csr: Uint8Array) => Promise<Uint8Array>) | undefined;
}

/** Opens the agent's lasting stream with its SVID. Rejects where the first answer is a refusal. */
export function streamOpener(
  access: () => ServerAccess,
  svid: () => AgentSvid,
  openMs = OPEN_MS,
): OpenStream {
  return (handlers) =>
    new Promise((resolve, reject) => {
      const client = clientOf(access(), svid());
      const call: ClientDuplexStream<FromAgent, FromServer> = client.makeBidiStreamRequest(
        service.connect.path,
        service.connect.requestSerialize,
        service.connect.responseDeserialize,
      );
      let ended = false;
      const late = setTimeout(() => {
        end(unanswered(openMs));
        call.cancel();
      }, openMs);
      const end = (error: Error | undefined) => {
        if (ended) return;
        ended = true;
        clearTimeout(late);
        reject(error ?? new Error('the control plane ended the connection'));
        handlers.onEnd(error);
        client.close();
      };
      // The server sends its headers once it has let the agent in.
      call.once('metadata', () => {
        clearTimeout(late);
        resolve({
          send: (message) => {
            if (!ended) call.write(create(FromAgentSchema, { message }));
          },
          close: () => {
            call.cancel();
            end(undefined);
          },
        });
      });
      call.on('data', (message: FromServer) => handlers.onMessage(message.message));
      call.on('error', (error: ServiceError) => end(refusalOf(error)));
      call.on('end', () => end(undefined));
    });
}

function unanswered(ms: number): InterlockError {
  return new InterlockError(
    'unavailable',
    'control plane',
    `the control plane did not let the agent in within ${ms / 1000} s`,
  );
}

/** The control plane looked at the evidence and does not take it; its own words. */
export class AttestationRefused extends InterlockError {}

/** What a first attestation gives. */
export interface Attested {
  readonly svid: AgentSvid;
  readonly bundles: BundleState;
}

/** Attests this node to the control plane: a new key, and the agent's SVID for it. Rejects with the server's refusal. */
export function attest(
  access: ServerAccess,
  evidence: NodeEvidence,
  algorithm: KeyAlgorithm = 'ec-p256',
): Promise<Attested> {
  const key = generateKey(algorithm);
  const csr = createRequest(key);
  const client = clientOf(access, undefined);
  return new Promise<Attested>((resolve, reject) => {
    const call: ClientDuplexStream<AttestRequest, AttestResponse> = client.makeBidiStreamRequest(
      service.attest.path,
      service.attest.requestSerialize,
      service.attest.responseDeserialize,
      { deadline: new Date(Date.now() + ATTEST_MS) },
    );
    const send = (step: AttestRequest['step']) => call.write(create(AttestRequestSchema, { step }));
    call.on('error', (error: ServiceError) => reject(attestationError(error)));
    call.on('end', () =>
      reject(new InterlockError('unavailable', access.address, 'the attestation broke off')),
    );
    call.on('data', ({ step }: AttestResponse) => {
      if (step.case === 'challenge') {
        const answer =
          evidence.answer?.(step.value, csr) ?? Promise.reject(new Error('no challenge was expected'));
        answer.then((value) => send({ case: 'challengeResponse', value }), reject);
      } else if (step.case === 'svid') {
        const { spiffeId, chain, bundles } = step.value;
        call.end();
        try {
          resolve({
            svid: {
              spiffeId: parseSpiffeId(spiffeId),
              chain: chain.map((der) => Buffer.from(der)),
              key: exportPkcs8(key),
              attestor: evidence.attestor,
            },
            bundles: bundles ?? missing(access),
          });
        } catch (error) {
          reject(error);
        }
      }
    });
    const start = async () => {
      const payload = await evidence.payload();
      const value = {
        $typeName: 'interlock.agent.v1.AttestStart' as const,
        attestor: evidence.attestor,
        payload,
        csr,
      };
      send({ case: 'start', value });
    };
    start().catch(reject);
  }).finally(() => client.close());
}

/** What is wrong with the evidence or the node; a state of the control plane's own, as no active authority, may pass. */
const EVIDENCE_REFUSED: ReadonlySet<ErrorCode> = new Set(['usage', 'forbidden', 'untrusted']);

function attestationError(error: ServiceError): InterlockError {
  const refusal = refusalOf(error);
  const { code, subject, message, cause } = refusal;
  return EVIDENCE_REFUSED.has(code) ? new AttestationRefused(code, subject, message, { cause }) : refusal;
}

function missing({ address }: ServerAccess): never {
  throw new InterlockError('unavailable', address, 'the control plane sent no bundle');
}

/** A connection of its own for each use: a new SVID, or new bundles, count from the next connection on. */
function clientOf({ address, trust, crls, now }: ServerAccess, svid: AgentSvid | undefined): Client {
  const roots = Buffer.from([...trust.bundles.values()].map(pemOf).join(''));
  const channel = credentials.createSsl(
    roots,
    svid === undefined ? null : Buffer.from(pem('PRIVATE KEY', svid.key)),
    svid === undefined ? null : Buffer.from(svid.chain.map((der) => pem('CERTIFICATE', der)).join('')),
    {
      // Called after Node found the chain good: what counts is who it is, by our own verifier.
      checkServerIdentity: (_, certificate) => {
        try {
          assertServer(shownCertificates(certificate), trust, now(), crls);
          return undefined;
        } catch (error) {
          return error instanceof Error ? error : new Error(String(error));
        }
      },
    },
  );
  return new Client(address, channel, {
    'grpc.ssl_target_name_override': 'interlock-server',
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.max_receive_message_length': 64 * 1024 * 1024,
  });
}

/** Statuses of what is wrong with us and does not pass by waiting. */
const REFUSALS: ReadonlyMap<status, ErrorCode> = new Map([
  [status.INVALID_ARGUMENT, 'usage'],
  [status.PERMISSION_DENIED, 'forbidden'],
  [status.FAILED_PRECONDITION, 'conflict'],
  [status.UNAUTHENTICATED, 'untrusted'],
]);

/** The server's refusal with its own words; everything else is a server that cannot be asked now. */
function refusalOf(error: ServiceError): InterlockError {
  if (isInterlockError(error)) return error;
  const { code, details } = error;
  const text = details === '' ? error.message : details;
  const kind = REFUSALS.get(code) ?? 'unavailable';
  return new InterlockError(kind, 'control plane', text, { cause: error });
}

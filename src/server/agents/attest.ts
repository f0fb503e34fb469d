import { create } from '@bufbuild/protobuf';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { InterlockError } from '../../access/index.ts';
import {
  type AttestRequest as AttestMessage,
  type AttestResponse,
  AttestResponseSchema,
} from '../../proto/index.ts';
import { type Timers, within } from '../timers.ts';
import type { AgentDesk, SignedCertificate } from './desk.ts';

/** Runs one attestation over its stream: the evidence, challenges and their answers, in turn. */
export async function attestOver(
  call: ServerDuplexStream<AttestMessage, AttestResponse>,
  address: string,
  desk: AgentDesk,
  timers: Timers,
  limitMs: number,
): Promise<SignedCertificate> {
  const steps = stepsOf(call);
  const late = () =>
    new InterlockError('unavailable', address, `the attestation took longer than ${limitMs / 1000} s`);
  return within(run(), limitMs, timers, late);

  async function run(): Promise<SignedCertificate> {
    const first = await steps();
    if (first.case !== 'start') throw wrong(address, 'the first message of an attestation is "start"');
    const { attestor, payload, csr } = first.value;
    return desk.attest({
      attestor,
      payload,
      csr,
      address,
      async challenge(challenge) {
        call.write(create(AttestResponseSchema, { step: { case: 'challenge', value: challenge } }));
        const answer = await steps();
        if (answer.case !== 'challengeResponse') throw wrong(address, 'the answer to a challenge is missing');
        return Buffer.from(answer.value);
      },
    });
  }
}

/** Gives the caller's messages one at a time; at most one is taken ahead. */
function stepsOf(
  call: ServerDuplexStream<AttestMessage, AttestResponse>,
): () => Promise<AttestMessage['step']> {
  const messages = call[Symbol.asyncIterator]();
  return async () => {
    // An async iterator of a readable gives what the stream was typed with.
    const next = (await messages.next()) as IteratorResult<AttestMessage, undefined>;
    if (next.value === undefined) throw wrong('attestation', 'the caller ended the attestation half-way');
    return next.value.step;
  };
}

function wrong(who: string, message: string): InterlockError {
  return new InterlockError('usage', who, message);
}

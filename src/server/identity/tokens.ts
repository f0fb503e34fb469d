import { InterlockError } from '../../access/index.ts';
import { agentNameFault, createJoinToken, type UsedTokens } from '../../identity/index.ts';
import type { IdentityStore, Json } from '../../store/index.ts';
import type { Timers } from '../timers.ts';
import type { Authorities } from './authorities.ts';
import type { Actor, Recorder } from './recorder.ts';
import { random } from './signing-keys.ts';
import { certificateOf } from './slots.ts';

/** Longest life of a join token, milliseconds. */
const MAX_TOKEN_TTL_MS = 7 * 86_400_000;

/** A join token to be made. */
export interface NewJoinToken {
  /** The agent's name below /interlock/agent/join_token/. */
  readonly agent: string;
  readonly ttlMs: number;
  /** Rules see them as `claims`. */
  readonly attributes: { readonly [key: string]: Json };
}

/** Makes a token that lets one node become an agent, once. It is shown now and never again. */
export async function makeJoinToken(
  who: Actor,
  { agent, ttlMs, attributes }: NewJoinToken,
  authorities: Authorities,
  recorder: Recorder,
  timers: Timers,
): Promise<{ token: string; expiresAt: number }> {
  const fault = agentNameFault(agent);
  if (fault !== undefined) throw new InterlockError('usage', agent.slice(0, 80), fault);
  if (!(ttlMs >= 1000 && ttlMs <= MAX_TOKEN_TTL_MS))
    throw new InterlockError('usage', agent, 'a join token lives from 1 second to 7 days');
  const { slot } = await authorities.signing();
  // By it the agent knows this very control plane: a child authority has the same root, and another key.
  const { token, hash } = createJoinToken(random, certificateOf(slot).spki);
  const createdAt = timers.now();
  const expiresAt = createdAt + ttlMs;
  await recorder.commit(
    [{ change: 'join-token', token: { hash, agent, expiresAt, createdAt, attributes } }],
    recorder.entry(who, 'token.make', agent, { expiresAt }),
  );
  return { token, expiresAt };
}

/** Where attestors remember tokens that were used. */
export function usedTokensOf(store: IdentityStore, recorder: Recorder): UsedTokens {
  return { useToken: (hash, until, now) => recorder.within(store.useToken(hash, until, now)) };
}

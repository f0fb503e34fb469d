import { InterlockError, isInterlockError } from '../../access/index.ts';
import type { Caller, Role } from '../../api/index.ts';
import {
  discovery,
  FetchedKeys,
  unverifiedIssuer,
  verifyJwtSvid,
  verifyToken,
} from '../../identity/index.ts';
import { serverId } from '../identity/server-identity.ts';
import type { Registry } from '../identity/registry.ts';
import type { Timers } from '../timers.ts';
import type { SignInConfig } from './config.ts';
import { fetchText } from './fetch-text.ts';
import type { RoleMap } from './roles.ts';

/** Longest life of a token that is accepted, milliseconds: it cannot be taken back before it ends. */
const LONGEST_MS = 24 * 3_600_000;

interface Issuer {
  readonly audience: string;
  readonly keys: FetchedKeys;
}

export interface BearerParts {
  readonly config: SignInConfig;
  readonly roles: RoleMap;
  readonly registry: Registry;
  readonly timers: Timers;
}

/** Callers that show a token with each call: people at a command line, CI jobs, workloads. */
export class BearerTokens {
  readonly #parts: BearerParts;
  readonly #issuers: ReadonlyMap<string, Issuer>;
  /** What ends with a token, by when that is: one timer, however many streams it opens and leaves. */
  readonly #ends = new Map<number, AbortController>();

  constructor(parts: BearerParts) {
    this.#parts = parts;
    const { oidc, tokens } = parts.config;
    const now = () => parts.timers.now();
    const issuerOf = (issuer: string, audience: string) =>
      [issuer, { audience, keys: new FetchedKeys(issuer, discovery(issuer, fetchText), now) }] as const;
    this.#issuers = new Map([
      ...(oidc?.cli === undefined ? [] : [issuerOf(oidc.issuer, oidc.cli.clientId)]),
      ...tokens.map(({ issuer, audience }) => issuerOf(issuer, audience)),
    ]);
  }

  /** Who shows this token. Throws `untrusted`; `forbidden` where no rule gives a role; `unavailable`. */
  async callerOf(token: string): Promise<Caller> {
    const named = unverifiedIssuer(token);
    const issuer = named === undefined ? undefined : this.#issuers.get(named);
    try {
      if (named !== undefined && issuer !== undefined) return await this.#user(token, named, issuer);
      return await this.#workload(token);
    } catch (error) {
      // A token is what the caller proves itself with: one that is malformed proves nothing.
      if (isInterlockError(error) && (error.code === 'invalid_token' || error.code === 'limit'))
        throw new InterlockError('untrusted', error.subject, error.message, { cause: error });
      throw error;
    }
  }

  async #user(token: string, issuer: string, { audience, keys }: Issuer): Promise<Caller> {
    const { claims, expiresAt } = await verifyToken(token, {
      subject: issuer,
      keys: keys.find,
      issuer,
      audience,
      now: this.#parts.timers.now(),
      longest: LONGEST_MS,
    });
    const subject = claims['sub'];
    if (typeof subject !== 'string' || subject === '')
      throw new InterlockError('invalid_token', issuer, 'the token is not accepted: it has no "sub"');
    const roles = this.#parts.roles.rolesOf({ issuer, subject, claims });
    return this.#until(expiresAt, known(whoOf(issuer, subject), roles));
  }

  async #workload(token: string): Promise<Caller> {
    const { registry, timers, roles } = this.#parts;
    const { trustDomain } = registry.domain;
    const { spiffeId, expiresAt } = await verifyJwtSvid(token, {
      bundles: new Map([[trustDomain, registry.bundles.current.value.local]]),
      audience: serverId(registry.domain),
      now: timers.now(),
    });
    if (registry.revocations.current.value.spiffeIds.has(spiffeId))
      throw new InterlockError('untrusted', spiffeId, `the identity ${spiffeId} is revoked`);
    return this.#until(expiresAt, known(spiffeId, roles.rolesOfWorkload(spiffeId)));
  }

  /** A stream that a token opened ends with it. Few callers open one: the rest have no signal made. */
  #until(expiresAt: number, caller: Caller): Caller {
    const endAt = () => this.#endAt(expiresAt);
    return {
      ...caller,
      get ended() {
        return endAt();
      },
    };
  }

  #endAt(expiresAt: number): AbortSignal {
    const known = this.#ends.get(expiresAt);
    if (known !== undefined) return known.signal;
    const { timers } = this.#parts;
    const over = new AbortController();
    this.#ends.set(expiresAt, over);
    timers.after(expiresAt - timers.now(), () => {
      this.#ends.delete(expiresAt);
      over.abort();
    });
    return over.signal;
  }
}

/** A user as the audit log names it. */
export function whoOf(issuer: string, subject: string): string {
  return `user:${issuer}#${subject}`;
}

/** Throws `forbidden` for somebody who is known, and whom no rule gives a role. */
export function known(who: string, roles: readonly Role[]): Caller {
  if (roles.length > 0) return { who, roles: new Set(roles), isLocal: false };
  throw new InterlockError('forbidden', who, `${who} has no role here: a rule of --sign-in has to give one`);
}

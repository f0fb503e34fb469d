import { InterlockError } from '../access/index.ts';
import type { AuditEntry, AuditFault, NewAuditEntry } from './audit.ts';
import type { OnCommit } from './commits.ts';

/** Plain data as JSON carries it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** What is kept as one document for each name: the control plane reads all of a kind when it starts. */
export const DOCUMENT_KINDS = [
  'authority',
  'rule',
  'peer',
  'bundle',
  'cutover',
  'child',
  'below',
  'joined',
  'region',
  'setting',
  'rollout',
  'proxy',
  'session',
  'sign-in-link',
  'review',
  'release',
  'drill',
  'notification',
  'key',
  'replica',
  'sync',
  'origin',
] as const;
export type DocumentKind = (typeof DOCUMENT_KINDS)[number];

export interface StoredDocument {
  readonly name: string;
  /** 1 where it was put for the first time (also after it was removed); each put adds 1. */
  readonly version: number;
  readonly data: Json;
}

/** What was issued to whom. `jwt`'s serial is the token's `jti`; the others' is the certificate's in hex. */
export const ISSUED_KINDS = ['workload', 'agent', 'authority', 'server', 'jwt'] as const;
export type IssuedKind = (typeof ISSUED_KINDS)[number];

/** One credential that was issued. Times are milliseconds since 1970 UTC. */
export interface IssuedSvid {
  readonly serial: string;
  readonly kind: IssuedKind;
  readonly spiffeId: string;
  /** SPIFFE ID of the agent (or child authority) that asked; "" for the control plane's own. */
  readonly agent: string;
  /** Name of the registration rule; "" where none was needed. */
  readonly rule: string;
  /** Key ID of the authority that signed. */
  readonly authority: string;
  readonly issuedAt: number;
  readonly notAfter: number;
  /** Serial of the credential that took its place. */
  readonly replacedBy?: string;
  /** When its holder said that nobody is served it any more. */
  readonly droppedAt?: number;
  readonly revokedAt?: number;
}

/** Which issued credentials are asked for; every field narrows. */
export interface IssuedFilter {
  /** Only those that are held and valid at this time: not expired, replaced, dropped or revoked. */
  readonly liveAt?: number;
  /** Only those that verifiers accept at this time, whether held or not: neither expired nor revoked. */
  readonly validAt?: number;
  readonly serial?: string;
  readonly authority?: string;
  readonly agent?: string;
  readonly rule?: string;
  readonly kind?: IssuedKind;
  /** An ID, or the beginning of IDs where it ends in `*`. */
  readonly spiffeId?: string;
  /** Serials after this one: where the last page ended. */
  readonly after?: string;
  /** In the order in which they end, those of one moment by serial; where absent by serial. */
  readonly order?: 'ends';
  /** With `order`: the end of the last one of the page before, whose serial is `after`. */
  readonly afterEnd?: number;
  /** At most this many; 1,000 where absent. */
  readonly limit?: number;
}

/** How many credentials are live under an authority, by who holds them. */
export interface LiveCount {
  readonly authority: string;
  readonly kind: IssuedKind;
  readonly count: number;
}

/** A join token as it is kept: only its SHA-256, in hex. */
export interface StoredJoinToken {
  readonly hash: string;
  readonly agent: string;
  readonly expiresAt: number;
  readonly createdAt: number;
  readonly attributes: Json;
}

/** A node agent that has attested itself. */
export interface AgentRecord {
  readonly id: string;
  readonly attestor: string;
  readonly attributes: Json;
  /** Of its own SVID. */
  readonly serial: string;
  readonly notAfter: number;
  readonly attestedAt: number;
  readonly banned: boolean;
}

/** A revoked identity (`spiffeId`, in force until it is allowed again) or a revoked certificate (`serial`). */
export interface Revocation {
  readonly what: 'id' | 'serial';
  readonly value: string;
  /** Key ID of the authority that issued the certificate; "" for an identity. */
  readonly authority: string;
  readonly reason: string;
  readonly at: number;
  /** When the certificate would have expired; undefined for an identity. */
  readonly until?: number;
}

/** One change. Those of one `commit` are made together with its audit entry, or none is. */
export type Change =
  | {
      readonly change: 'put';
      readonly kind: DocumentKind;
      readonly name: string;
      readonly data: Json;
      /** The version that it must have, 0 where it must not be there; any other is a `conflict`. */
      readonly expect?: number;
    }
  | {
      readonly change: 'remove';
      readonly kind: DocumentKind;
      readonly name: string;
      /** As of `put`; 0 changes nothing where it is not there. */
      readonly expect?: number;
    }
  /** Records a credential, and what it replaces where that is of the same agent. A known serial is a `conflict`. */
  | { readonly change: 'issue'; readonly svid: IssuedSvid; readonly replaces?: string }
  | {
      readonly change: 'drop';
      readonly agent: string;
      readonly serials: readonly string[];
      readonly at: number;
    }
  /** Adds an agent or replaces what is known of it; one that is banned stays so until it is forgotten. */
  | { readonly change: 'agent'; readonly agent: AgentRecord }
  | { readonly change: 'forget-agent'; readonly id: string }
  | { readonly change: 'join-token'; readonly token: StoredJoinToken }
  | { readonly change: 'revoke'; readonly revocation: Revocation }
  | { readonly change: 'allow'; readonly what: Revocation['what']; readonly value: string }
  /**
   * Changes nothing, and lets none of the commit be made where the identity is revoked or the agent evicted, or unknown
   * unless it may be new: `forbidden`. Whoever commits later than a revocation, at whichever replica, is held to it.
   */
  | {
      readonly change: 'require';
      readonly spiffeId?: string;
      readonly agent?: string;
      readonly mayBeNew?: boolean;
    };

/**
 * Where the control plane keeps what must outlive it. No private key is ever in it but sealed. Asynchronous, and never blocks
 * the caller's thread; every engine passes the suite in identity-contract.test-helper.ts. A promise resolves once what it
 * stands for survives a power cut. Errors: `state` (damaged, newer, held by another process), `io` (disk full), `unavailable`
 * (a database beyond the network does not answer).
 */
export interface IdentityStore {
  /** Makes all changes and appends the audit entry, or does nothing. */
  commit(changes: readonly Change[], entry?: NewAuditEntry): Promise<void>;
  /** All of a kind, or those of these names. */
  documents(kind: DocumentKind, names?: readonly string[]): Promise<StoredDocument[]>;
  /**
   * Takes a join token away: its record to one caller, once, and undefined to everyone else. An expired one is
   * taken away as well; the caller looks at `expiresAt`.
   */
  takeJoinToken(hash: string): Promise<StoredJoinToken | undefined>;
  joinTokens(): Promise<StoredJoinToken[]>;
  /** Remembers a token until it expires; false if it was remembered already: a replay. */
  useToken(hash: string, until: number, now: number): Promise<boolean>;
  /** All, or those of these IDs. */
  agents(ids?: readonly string[]): Promise<AgentRecord[]>;
  issued(filter: IssuedFilter): Promise<IssuedSvid[]>;
  liveCounts(now: number): Promise<LiveCount[]>;
  revocations(): Promise<Revocation[]>;
  /** Entries from a sequence number on (the first is 1), oldest first. */
  audit(from: number, limit: number): Promise<AuditEntry[]>;
  /** Reads the log from an entry to its end; the first fault, or undefined where the chain is whole. */
  verifyAudit(from?: number): Promise<AuditFault | undefined>;
  /** Forgets what expired before `before`: issued credentials, used tokens, join tokens, revoked serials. */
  prune(before: number): Promise<number>;
  /**
   * Tells `onCommit` every commit that is made after the promise resolves, through this store or another one of the same
   * database: in order, once each, after it is durable. The function given back ends that. Who reads everything after
   * the promise resolved and then follows the commits has missed nothing.
   */
  watch(onCommit: OnCommit): Promise<() => void>;
  /**
   * Stands for leader among the stores of one database, for what is to be done once: `onLead` is told true when this one
   * leads, and false when it does no more. At most one leads; one that loses the database stops at once, and where the
   * leader is gone another one leads within seconds. The function given back ends that.
   */
  lead(onLead: OnLead): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

/**
 * Is told whether the store leads; false at first, which is not told. `holds` says whether it still does at the moment it is
 * asked, where that can end by itself: a process that stood still for a while is told only afterwards.
 */
export type OnLead = (isLeader: boolean, holds?: () => boolean) => void;

/** A commit that a `require` keeps from being made. */
export function notAllowed(what: string, why: string): InterlockError {
  return new InterlockError('forbidden', what, `${what} ${why}: nothing is issued for it`);
}

/** A document that is not at the version that its change expects. */
export function versionConflict(
  {
    kind,
    name,
    expect = 0,
  }: { readonly kind: DocumentKind; readonly name: string; readonly expect?: number },
  found: number,
): InterlockError {
  const is = found === 0 ? 'is not there' : `is at version ${found}`;
  const wanted = expect === 0 ? 'it was expected to be absent' : `version ${expect} was expected`;
  return new InterlockError(
    'conflict',
    name,
    `the ${kind} ${name} ${is}, ${wanted}: somebody changed it meanwhile; look at it again and repeat the change`,
  );
}

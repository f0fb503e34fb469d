import { Child, runToEnd } from './children.ts';

/** An SVID as the client on go-spiffe shows it. */
export interface SvidSeen {
  readonly id: string;
  readonly hint: string;
  readonly serial: string;
  /** Key ID of the authority that signed it. */
  readonly authority: string;
  readonly chain: number;
  /** Milliseconds since 1970. */
  readonly notAfter: number;
  /** Why go-spiffe does not verify it; empty where it does. */
  readonly verified: string;
  readonly dnsNames: readonly string[] | null;
}

/** A complete state of the Workload API. */
export interface ContextSeen {
  readonly svids: readonly SvidSeen[];
  readonly bundles: Readonly<Record<string, number>>;
}

/** A JWT-SVID, and who validates it: see jwt.go. */
export interface TokenSeen {
  readonly id: string;
  readonly hint: string;
  readonly seconds: number;
  readonly token: string;
  readonly local: string;
  readonly remote: string;
  readonly localElsewhere: string;
  readonly remoteElsewhere: string;
}

/** What the client could not do, with the gRPC status where it was answered with one. */
export interface Failure {
  readonly error: string;
  readonly code?: string;
}

/** What another peer is, as seen over mutual TLS. */
export interface Dialed {
  readonly peer: string;
  readonly serial: string;
  readonly group: string;
  /** What it said after the handshake. */
  readonly answer: string;
}

/** The client on go-spiffe, run as one user against one socket. */
export class Workload {
  readonly #bin: string;
  readonly uid: number;
  readonly #socket: string;

  constructor(bin: string, uid: number, socket: string) {
    this.#bin = bin;
    this.uid = uid;
    this.#socket = socket;
  }

  /** What a subcommand answers. Throws what it failed with. */
  async run<T>(...args: readonly string[]): Promise<T> {
    const answer = await this.#ask<T | Failure>(args);
    if (isFailure(answer)) throw new Error(`${args[0]}: ${answer.error}`);
    return answer;
  }

  /** What a subcommand fails with. Throws where it does not fail. */
  async fail(...args: readonly string[]): Promise<Failure> {
    const answer = await this.#ask<unknown>(args);
    if (isFailure(answer)) return answer;
    throw new Error(`${args[0]} was answered: ${JSON.stringify(answer).slice(0, 300)}`);
  }

  /** Starts a subcommand that goes on. */
  start(...args: readonly string[]): Child {
    return new Child({ command: this.#bin, args, uid: this.uid, env: this.#env });
  }

  get #env(): Record<string, string> {
    return { SPIFFE_ENDPOINT_SOCKET: `unix://${this.#socket}` };
  }

  async #ask<T>(args: readonly string[]): Promise<T> {
    const { out, err } = await runToEnd({ command: this.#bin, args, uid: this.uid, env: this.#env });
    try {
      // The client's own lines, as its Go types say them.
      return JSON.parse(out) as T;
    } catch {
      throw new Error(`${args[0]}: ${err.trim()} ${out.trim()}`);
    }
  }
}

/** A line of the client as what it means, if it is of that kind. */
export function contextOf(line: string): ContextSeen | undefined {
  const seen = parsed(line);
  // The client's own lines, as its Go types say them.
  return seen !== undefined && 'svids' in seen ? (seen as unknown as ContextSeen) : undefined;
}

/** The port that `serve` took. */
export function portOf(line: string): number | undefined {
  const seen = parsed(line);
  return seen !== undefined && typeof seen['port'] === 'number' ? seen['port'] : undefined;
}

/** The gRPC status that a watch ran into. */
export function codeOf(line: string): string | undefined {
  const seen = parsed(line);
  return seen !== undefined && typeof seen['code'] === 'string' ? seen['code'] : undefined;
}

function parsed(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function isFailure(answer: unknown): answer is Failure {
  return typeof answer === 'object' && answer !== null && 'error' in answer;
}

/** Times of a proxy, in milliseconds. */
export interface Timeouts {
  /** From the connection to its first byte, and for the TLS handshake. */
  readonly handshake: number;
  /** To the first byte of a permissive port; who is silent longer is taken for plain text: in some protocols the server
   * speaks first. */
  readonly silence: number;
  /** From the first byte of a head to its last. */
  readonly head: number;
  /** Between two requests of a kept-alive connection. Longer than a client keeps idle connections, so that it is the
   * client who closes them. */
  readonly idle: number;
  /** Without a byte in either direction while a request or its answer is on its way. */
  readonly exchange: number;
  /** To reach the program behind the proxy, or the peer with its handshake. */
  readonly connect: number;
  /** Without a byte in either direction on a TCP connection or a tunnel. */
  readonly tunnel: number;
  /** How long an idle connection to the program is kept; a program that says less by Keep-Alive is believed. */
  readonly pool: number;
  /** How long an idle connection to a peer's proxy is kept: less than the peer's `idle`. */
  readonly uplinkPool: number;
  /** How long a refused sender may go on sending before it is cut off: cut off at once it would not read why. */
  readonly linger: number;
}

/** Defaults: those of Envoy where it has one, else of HAProxy's documentation. */
export const DEFAULT_TIMEOUTS: Timeouts = {
  handshake: 10_000,
  silence: 3_000,
  head: 10_000,
  idle: 75_000,
  exchange: 300_000,
  connect: 5_000,
  tunnel: 3_600_000,
  pool: 4_000,
  uplinkPool: 60_000,
  linger: 1_000,
};

/** How many connections are taken; more are closed at once. */
export interface Limits {
  /** Open inbound connections of one listener. */
  readonly connections: number;
  /** Of these, from one address. */
  readonly perAddress: number;
}

/** One address never takes all of them. */
export const DEFAULT_LIMITS: Limits = { connections: 20_000, perAddress: 10_000 };

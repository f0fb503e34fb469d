import { type IncomingMessage, request as requestPlain, type RequestOptions } from 'node:http';
import { request as requestTls } from 'node:https';
import type { LookupFunction } from 'node:net';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { type Timers, within } from '../timers.ts';
import {
  addressesOf,
  addressKind,
  hostOf,
  type Reach,
  type Resolve,
  type Resolved,
  systemResolve,
} from './address.ts';

/** How long the name, the connection and the answer may take together, milliseconds. */
const TIMEOUT_MS = 10_000;
/** Longest pause that a receiver may ask for, milliseconds. */
const LONGEST_PAUSE_MS = 86_400_000;

/** Where something is sent. */
export interface PostTarget extends Reach {
  /** PEM of the authorities that its certificate may be of; the system's where absent. */
  readonly ca?: string | undefined;
}

export interface Posted {
  readonly status: number;
  /** How long the receiver asks to be left alone, milliseconds. */
  readonly pauseMs?: number;
}

/** Sends something to a channel: {@link post}, or what a test puts in its place. */
export type Send = (
  target: PostTarget,
  rendered: { readonly headers: Readonly<Record<string, string>>; readonly body: string },
) => Promise<Posted>;

export interface PostParts {
  readonly timers: Timers;
  readonly resolve?: Resolve | undefined;
}

/**
 * Sends a JSON body, and gives the status of the answer; nothing else of the answer is read. The name is looked up once: what
 * was judged is what is connected to. No redirect is followed, no proxy is asked. Throws `forbidden` for an address that nothing
 * may be sent to, `unavailable`; no message holds more of the address than its host.
 */
export async function post(
  target: PostTarget,
  { headers, body }: { readonly headers: Readonly<Record<string, string>>; readonly body: string },
  { timers, resolve = systemResolve }: PostParts,
): Promise<Posted> {
  const host = hostOf(target.url);
  const over = new AbortController();
  const late = () =>
    new InterlockError('unavailable', host, `${host} did not answer within ${TIMEOUT_MS / 1000} s`);
  const sent = async () => {
    const addresses = await addressesOf(target, resolve);
    return exchange(target, addresses, { headers, body, signal: over.signal, now: timers.now() });
  };
  try {
    return await within(sent(), TIMEOUT_MS, timers, late);
  } catch (cause) {
    if (isInterlockError(cause)) throw cause;
    // The code alone: the message of an error may hold what was sent.
    throw new InterlockError('unavailable', host, `${host} does not answer (${codeOf(cause)})`, { cause });
  } finally {
    over.abort();
  }
}

interface Sending {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly signal: AbortSignal;
  readonly now: number;
}

function exchange(
  { url, allowPrivate, ca }: PostTarget,
  addresses: readonly Resolved[],
  { headers, body, signal, now }: Sending,
): Promise<Posted> {
  const payload = Buffer.from(body);
  const options: RequestOptions & { ca?: string } = {
    method: 'POST',
    // A connection of its own: nothing that was judged for another channel is used again.
    agent: false,
    headers: { 'content-type': 'application/json', 'content-length': payload.length, ...headers },
    lookup: pinned(addresses),
    signal,
    ...(ca === undefined ? {} : { ca }),
  };
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? requestTls : requestPlain;
    const request = send(url, options, (answer) => {
      const { statusCode: status = 0 } = answer;
      const pauseMs = pauseOf(answer, now);
      answer.destroy();
      resolve({ status, ...(pauseMs === undefined ? {} : { pauseMs }) });
    });
    request.on('socket', (socket) => {
      // Whatever was looked up: this is where it went.
      socket.on('connect', () => {
        const kind = addressKind(socket.remoteAddress ?? '');
        if (kind === 'public' || (allowPrivate && kind !== 'never')) return;
        request.destroy(
          new InterlockError(
            'forbidden',
            hostOf(url),
            `${hostOf(url)} leads to an address that nothing may be sent to`,
          ),
        );
      });
    });
    request.on('error', reject);
    request.end(payload);
  });
}

/** Gives a connection the addresses that were judged, whatever the resolver would say now. */
function pinned(addresses: readonly Resolved[]): LookupFunction {
  return (_host, options, done) => {
    const [first] = addresses;
    if (options.all === true) done(null, [...addresses]);
    else done(null, first?.address ?? '', first?.family ?? 4);
  };
}

/** "Retry-After" (RFC 9110, 10.2.3), bounded. */
function pauseOf({ headers }: IncomingMessage, now: number): number | undefined {
  const said = headers['retry-after']?.trim() ?? '';
  const ms = /^\d{1,9}$/.test(said) ? Number(said) * 1000 : Date.parse(said) - now;
  return ms > 0 ? Math.min(ms, LONGEST_PAUSE_MS) : undefined;
}

function codeOf(error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^[A-Z_0-9]{1,60}$/.test(code) ? code : 'no answer';
}

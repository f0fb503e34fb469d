import { connect } from 'node:net';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { authorizeAny, MtlsAgent, X509Source } from '../../src/workload/index.ts';
import { isReady, setting } from './program.ts';

// Whoever got a foot in the door: code that runs on this machine and wants to charge a card. It takes every identity
// that the agent gives it and tries what it is told to try.

/** How the attacker comes: in plain text, with TLS and no certificate, or with the identity that the agent gives it. */
export type Way = 'plain' | 'no-certificate' | 'own-identity';
/** What came of it. */
export interface Tried {
  readonly way: Way;
  /** Who the agent says that it is. */
  readonly identity?: string;
  readonly status?: number;
  readonly body?: string;
  /** Why there was no answer. */
  readonly error?: string;
}

const IDENTITY_MS = 3000;
const CALL_MS = 5000;
const TARGET = setting('TARGET');
const [host = '', port = ''] = TARGET.split(':');
const BODY = JSON.stringify({ order: 'stolen', cents: 100_000 });
const HEAD = { 'content-type': 'application/json', 'content-length': BODY.length };

let source: X509Source | undefined;
let refused = '';

/** Asks the agent who this is. */
async function identity(): Promise<X509Source | undefined> {
  const given = new AbortController();
  const timer = setTimeout(() => given.abort(new Error('the agent gave none in time')), IDENTITY_MS);
  try {
    source ??= await X509Source.open({
      endpoint: `unix://${setting('WORKLOAD_API')}`,
      signal: given.signal,
      onError: (error) => given.abort(error),
    });
  } catch (error) {
    refused = error instanceof Error ? error.message : String(error);
  } finally {
    clearTimeout(timer);
  }
  return source;
}

function charge(way: Way): Promise<Tried> {
  const options = {
    host,
    port: Number(port),
    method: 'POST',
    path: '/charges',
    headers: HEAD,
    timeout: CALL_MS,
  };
  return new Promise((resolve) => {
    const send = () => {
      if (way === 'plain') return httpRequest({ ...options, agent: false });
      // A thief does not care whom it calls: the server's certificate is not judged.
      if (way === 'no-certificate')
        return httpsRequest({ ...options, agent: false, rejectUnauthorized: false });
      if (source === undefined) return undefined;
      const agent = new MtlsAgent({ source, authorize: authorizeAny(), pool: { keepAlive: false } });
      return httpsRequest({ ...options, agent }).once('close', () => agent.destroy());
    };
    const call = send();
    if (call === undefined) return resolve({ way, error: `no identity: ${refused}` });
    const own = source === undefined ? {} : { identity: source.svid.spiffeId };
    call.on('timeout', () => call.destroy(new Error('no answer in time')));
    call.on('error', (error) => resolve({ way, ...own, error: error.message }));
    call.on('response', (response) => {
      let body = '';
      response.on('data', (bytes: Buffer) => (body += String(bytes)));
      response.on('error', (error) => resolve({ way, ...own, error: error.message }));
      response.on('end', () => resolve({ way, ...own, status: response.statusCode ?? 0, body }));
    });
    call.end(BODY);
  });
}

process.on('message', async ({ way }: { readonly way: Way }) => {
  if (way === 'own-identity') await identity();
  process.send?.({ tried: await charge(way) });
});
// It waits to be told what to try.
process.channel?.ref();
// Nobody listens on this port of the target's proxy where it is not there at all: that would prove nothing.
const reached = connect({ host, port: Number(port) }, () => {
  reached.destroy();
  isReady();
});

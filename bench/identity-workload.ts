// A workload that is nothing but HTTP/2 on the agent's socket.
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { fromBinary } from '@bufbuild/protobuf';
import { type X509SVIDResponse, X509SVIDResponseSchema } from '../src/proto/index.ts';
import { sharedClock } from './identity-parts.ts';

const PATIENCE_MS = 20_000;
/** The gRPC status for a workload that no rule gives anything. */
const PERMISSION_DENIED = 7;

/** The first message of a stream, or how the stream ended. */
export interface Answer {
  readonly svids: X509SVIDResponse['svids'];
  /** The gRPC status, where the stream ended without an answer. */
  readonly status: number | undefined;
  /** Ends the stream and its connection. */
  readonly close: () => void;
}

/**
 * Asks for the caller's SVIDs as soon as somebody listens at the socket, on a connection of its own, and keeps the
 * stream open.
 */
export async function fetchX509Svid(path: string): Promise<Answer> {
  const socket = await connected(path);
  const session = connectHttp2('http://localhost', { createConnection: () => socket });
  // A server that is killed ends the session with an error, after the answer.
  session.on('error', () => undefined);
  const request = session.request({
    ':method': 'POST',
    ':path': '/SpiffeWorkloadAPI/FetchX509SVID',
    'content-type': 'application/grpc',
    te: 'trailers',
    'workload.spiffe.io': 'true',
  });
  const close = () => session.destroy();
  return new Promise<Answer>((resolve, reject) => {
    let bytes = Buffer.alloc(0);
    let status: number | undefined;
    const ending = (headers: Readonly<Record<string, unknown>>) => {
      if (headers['grpc-status'] !== undefined) status = Number(headers['grpc-status']);
    };
    request.on('response', ending);
    request.on('trailers', ending);
    request.on('data', (part: Buffer) => {
      bytes = Buffer.concat([bytes, part]);
      // One byte of flags, four of length, the message.
      if (bytes.length < 5 || bytes.length < 5 + bytes.readUInt32BE(1)) return;
      const { svids } = fromBinary(X509SVIDResponseSchema, bytes.subarray(5));
      bytes = Buffer.alloc(0);
      resolve({ svids, status, close });
    });
    request.on('end', () => {
      close();
      resolve({ svids: [], status, close });
    });
    request.on('error', reject);
    // No flags, no length: an empty message.
    request.end(Buffer.alloc(5));
  });
}

/** Waits for an agent to have its rules and an SVID for the caller. Throws where it answers with something else. */
export async function untilServed(path: string): Promise<void> {
  for (;;) {
    const { svids, status, close } = await fetchX509Svid(path);
    close();
    if (svids.length > 0) return;
    // Its rules are still on their way: a workload of no rule is told so, and asks again.
    if (status !== PERMISSION_DENIED) throw new Error(`the agent answered with gRPC status ${status}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Connects, again and again until somebody listens. */
async function connected(path: string): Promise<Socket> {
  const start = sharedClock();
  for (;;) {
    const socket = connect(path);
    const opened = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    if (opened) return socket;
    if (sharedClock() - start > PATIENCE_MS) throw new Error(`nobody listens at ${path}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

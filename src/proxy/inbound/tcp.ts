import type { Action, Outcome } from '../../access/index.ts';
import { signatureOf } from '../proxy-protocol/index.ts';
import { connectPlain } from '../tcp/connect.ts';
import { pump } from '../tcp/pump.ts';
import type { InboundConnection } from './connection.ts';
import { opening } from './opening.ts';

/** How long the program may be silent until the connection is reported without an answer, in milliseconds. */
const SILENT_MS = 60_000;

/** Serves a connection whose bytes are not looked at: it is judged once, when it opens, and again when asked. */
export function serveTcp(connection: InboundConnection, first: Buffer | undefined, preamble?: Buffer): void {
  const { socket, route, context } = connection;
  const action: Action = { kind: 'tcp', port: route.port };
  const judgement = connection.judge(action);
  if (!judgement.allowed) {
    connection.record(action, judgement, 'denied');
    socket.destroy();
    return;
  }
  const { clock, timeouts } = context;
  // Told once: when the program answers, when it ends without an answer, or after a while, since it may stay for months.
  let isTold = false;
  const tell = (outcome: Outcome) => {
    callOff();
    if (isTold) return;
    isTold = true;
    connection.record(action, judgement, outcome);
  };
  let callOff = () => {};
  socket.pause();
  socket.on('error', () => {});
  if (first !== undefined && first.length > 0) socket.unshift(first);
  const options = { to: route.forward, clock, timeout: timeouts.connect, preamble };
  const giveUp = connectPlain(options, (error, upstream) => {
    socket.off('close', gone);
    if (upstream === undefined) {
      connection.log('unreachable', error?.message ?? 'no connection');
      tell('failed');
      socket.destroy();
      return;
    }
    callOff = clock.after(SILENT_MS, () => tell('error'));
    const refuse = () => {
      isTold = true;
      callOff();
    };
    pump(socket, upstream, {
      clock,
      idle: timeouts.tunnel,
      onAnswer: () => tell('ok'),
      onDone: () => tell('error'),
      ...(connection.isTrustedHop ? {} : { hold: (start) => checkFirst(connection, start, refuse) }),
    });
  });
  const gone = () => giveUp();
  socket.once('close', gone);
  connection.handler = {
    // Nobody knows where a foreign protocol may be cut: it ends at the deadline.
    drain: () => {},
    held: () => [{ action, cut: () => socket.destroy() }],
  };
}

/**
 * A stranger's bytes must not begin with a PROXY header: a program that believes such headers would take the stranger
 * for whomever the header names. `refuse` is called before such a connection is ended.
 */
function checkFirst(connection: InboundConnection, start: () => void, refuse: () => void): void {
  const { socket, context } = connection;
  const look = (bytes: Buffer) => {
    const found = signatureOf(bytes);
    if (found === 'more') return undefined;
    return found === undefined ? ('other' as const) : ('header' as const);
  };
  opening(socket, context.clock, context.timeouts.tunnel, look, (found, bytes) => {
    if (found === 'header') {
      refuse();
      connection.refused('a PROXY header of a peer that is not trusted with one');
      socket.destroy();
      return;
    }
    if (found === undefined) return;
    if (bytes.length > 0) socket.unshift(bytes);
    // However long a stranger waits, its first bytes are looked at.
    if (found === 'silent' && !socket.readableEnded) checkFirst(connection, start, refuse);
    else start();
  });
}

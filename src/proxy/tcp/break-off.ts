import type { Socket } from 'node:net';

/**
 * Ends a connection so that the other end can tell it from an orderly end: with a reset, or in TLS without the closing
 * alert (RFC 8446 section 6.1). A stream that was cut must not look complete.
 */
export function breakOff(socket: Socket): void {
  if ('encrypted' in socket || socket.destroyed || socket.connecting) socket.destroy();
  else socket.resetAndDestroy();
}

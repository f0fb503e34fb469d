import type { EventEmitter } from 'node:events';
import type {
  ConnectionOptions,
  PeerCertificate,
  SecureContextOptions,
  Server,
  TLSSocket,
  TlsOptions,
} from 'node:tls';
import type { InterlockError } from '../../access/index.ts';
import { certificateToPem } from '../../identity/index.ts';
import { interlockErrorOf } from '../api-error.ts';
import { systemClock } from '../clock.ts';
import type { X509State } from '../x509-state.ts';
import { Connections } from './connections.ts';
import { contextOptions } from './context.ts';
import { judge, type MtlsPolicy, provePeer } from './peer.ts';
import type { MtlsServerOptions } from './server.ts';

/** Longest chain that is followed in Node's linked form. */
const MAX_LINKS = 16;

/**
 * Options for `tls.connect` or `https.request` where {@link connectMtls} and {@link MtlsAgent} do not fit. OpenSSL
 * checks the peer's chain by the bundles of this moment, and then our verifier, before Node lets a byte through. They
 * are a snapshot: make them anew for each connection, or a renewed SVID is never shown.
 */
export function mtlsClientOptions(policy: MtlsPolicy): ConnectionOptions {
  return {
    ...trustingContext(policy.source.state),
    rejectUnauthorized: true,
    // Node asks this after OpenSSL's own check, and not at all for a resumed session.
    checkServerIdentity: (_host, certificate) => {
      try {
        judge(linkedChain(certificate), policy, systemClock.now());
        return undefined;
      } catch (error) {
        return interlockErrorOf('peer', error);
      }
    },
    // Its being there, undefined, keeps https.Agent from offering a session that it remembers.
    session: undefined,
  };
}

/**
 * Options for `tls.createServer`, `https.createServer` or `http2.createSecureServer` where {@link createMtlsServer} does
 * not fit. Alone they let in everyone whom the bundles vouch for: call {@link guardServer} on the server before it
 * listens, which judges who it is and renews the SVID.
 */
export function mtlsServerOptions(policy: MtlsPolicy): TlsOptions {
  return { ...trustingContext(policy.source.state), requestCert: true, rejectUnauthorized: true };
}

/** What {@link guardServer} is told beside the policy. */
export type GuardOptions = MtlsPolicy & Pick<MtlsServerOptions, 'onRefused' | 'atExpiry' | 'clock'>;

/**
 * Puts our verifier before everything that a TLS server of Node's does with a connection, and renews its SVID. Whoever
 * listened for 'secureConnection' until now hears only of proven peers. Gives back what ends the guarding, for after
 * the server was closed.
 */
export function guardServer(server: Server, options: GuardOptions): () => void {
  const { clock = systemClock, onRefused } = options;
  const renew = (state: X509State) => server.setSecureContext(trustingContext(state));
  renew(options.source.state);
  const stopListening = options.source.onUpdate(renew);
  const refuse = (error: InterlockError, from: string) => onRefused?.({ error, from });
  const connections = new Connections({
    policy: options,
    clock,
    atExpiry: options.atExpiry ?? 'close',
    onCut: (error, { spiffeId }) => refuse(error, spiffeId),
  });
  const emitter: EventEmitter = server;
  const behind = emitter.listeners('secureConnection');
  emitter.removeAllListeners('secureConnection');
  emitter.on('secureConnection', (socket: TLSSocket) => {
    try {
      connections.add(socket, provePeer(socket, options, clock.now()));
    } catch (error) {
      const from = `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}`;
      socket.on('error', () => {});
      socket.destroy();
      refuse(interlockErrorOf('peer', error), from);
      return;
    }
    for (const listener of behind) listener.call(server, socket);
  });
  return () => {
    stopListening();
    connections.close();
  };
}

/** The context of an identity, with OpenSSL's own check switched on: every authority of every bundle may vouch. */
function trustingContext(state: X509State): SecureContextOptions {
  const authorities = [...state.bundles.values()].flatMap(({ x509Authorities }) => x509Authorities);
  return {
    ...contextOptions(state.svid),
    ca: authorities.map((der) => certificateToPem(der)),
    // A bundle may hold an authority that is not self-signed; it is where trust starts all the same.
    allowPartialTrustChain: true,
  };
}

function linkedChain(leaf: PeerCertificate): Buffer[] {
  const chain: Buffer[] = [];
  // Node links each certificate to its issuer, and one that signed itself to itself.
  let next: PeerCertificate | undefined = leaf;
  while (next?.raw !== undefined && chain.length < MAX_LINKS) {
    chain.push(next.raw);
    const issuer: PeerCertificate | undefined = (next as { issuerCertificate?: PeerCertificate })
      .issuerCertificate;
    next = issuer === next ? undefined : issuer;
  }
  return chain;
}

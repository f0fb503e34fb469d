import { randomBytes, webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:tls';
import { parseSpiffeId } from '../../access/index.ts';
import {
  type Certificate,
  certificateToPem,
  createRequest,
  generateKey,
  issueAuthority,
  issueX509,
  issuerOf,
  parseCertificate,
  parseRequest,
  pem,
  signerOf,
} from '../index.ts';
import * as x509 from './peculiar.test-helper.ts';

export const NOW = Date.now();
const times = { notBefore: NOW - 10_000, notAfter: NOW + 3_600_000 };
const trustDomain = 'example.org';

/** A root, a child authority below it, and the control plane of the child: its certificate and key. */
export async function estate() {
  const [rootKey, childKey, serverKey] = [
    generateKey('ec-p256'),
    generateKey('ec-p256'),
    generateKey('ec-p256'),
  ];
  const root = await issueAuthority({
    trustDomain,
    ...times,
    signer: signerOf(rootKey),
    random: randomBytes,
  });
  const child = await issueAuthority({
    trustDomain,
    ...times,
    request: parseRequest(createRequest(childKey)),
    issuer: issuerOf(root),
    prefixes: ['/area/'],
    signer: signerOf(rootKey),
    random: randomBytes,
  });
  const server = await issueX509({
    spiffeId: parseSpiffeId('spiffe://example.org/area/interlock/server'),
    request: parseRequest(createRequest(serverKey)),
    ...times,
    issuer: issuerOf(child, [root]),
    signer: signerOf(childKey),
    random: randomBytes,
  });
  return { root, child, server, serverKey };
}

/** Certificates of somebody on the way, who owns none of the estate's keys, around the true one of the child authority. */
export async function forged(child: Certificate): Promise<{ key: string; chain: string }> {
  const alg = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = () => webcrypto.subtle.generateKey(alg, true, ['sign', 'verify']);
  const [leafKeys, middleKeys, loopKeys, rootKeys] = [await keys(), await keys(), await keys(), await keys()];
  const own = new x509.X509Certificate(child.der);
  const keyId = own.getExtension(x509.AuthorityKeyIdentifierExtension)?.keyId ?? '';
  const make = (
    subject: string,
    issuer: string,
    publicKey: CryptoKey,
    signingKey: CryptoKey,
    extensions: x509.Extension[],
  ) =>
    x509.X509CertificateGenerator.create({
      subject,
      issuer,
      publicKey,
      signingKey,
      signingAlgorithm: alg,
      notBefore: new Date(times.notBefore),
      notAfter: new Date(times.notAfter),
      extensions,
    });
  const authority = () => [
    new x509.BasicConstraintsExtension(true, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
  ];
  const leaf = await make('CN=leaf', own.subject, leafKeys.publicKey, middleKeys.privateKey, [
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.SubjectAlternativeNameExtension([
      { type: 'url', value: 'spiffe://example.org/area/interlock/server' },
    ]),
  ]);
  const loop = await make(own.issuer, own.subject, loopKeys.publicKey, middleKeys.privateKey, [
    ...authority(),
    new x509.SubjectKeyIdentifierExtension(keyId),
  ]);
  const middle = await make(own.subject, 'CN=theirs', middleKeys.publicKey, rootKeys.privateKey, authority());
  const root = await make('CN=theirs', 'CN=theirs', rootKeys.publicKey, rootKeys.privateKey, authority());
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', leafKeys.privateKey));
  const all = [leaf, own, loop, middle, root].map((one) => parseCertificate(Buffer.from(one.rawData)));
  return { key: pem('PRIVATE KEY', key), chain: all.map(({ der }) => certificateToPem(der)).join('') };
}

/** Shows certificates over TLS: the address, and the end of it. */
export async function show(key: string, chain: string): Promise<{ address: string; stop: () => void }> {
  const server = createServer({ key, cert: chain, ALPNProtocols: ['h2'] }, (socket) =>
    socket.on('error', () => undefined),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : '';
  return { address: `127.0.0.1:${port}`, stop: () => void server.close() };
}

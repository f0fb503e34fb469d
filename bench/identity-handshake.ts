// Full mutual TLS 1.3 handshakes between two workloads with our certificates: bytes in both directions, and how many a
// second, for the two key exchanges and the two kinds of key.
import { randomBytes, constants } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import { connect as connectTls, createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import { parseSpiffeId } from '../src/access/index.ts';
import {
  type Certificate,
  certificateToPem,
  createRequest,
  exportPkcs8,
  generateKey,
  issueAuthority,
  issuerOf,
  issueX509,
  type KeyAlgorithm,
  parseRequest,
  pem,
  signerOf,
} from '../src/identity/index.ts';

type Report = (line: string) => void;

const KEYS: readonly KeyAlgorithm[] = ['ec-p256', 'ml-dsa-65'];
const GROUPS = ['X25519', 'X25519MLKEM768'] as const;
/** What was counted elsewhere for the same handshake: leaf and one intermediate on each side, no tickets. */
const COUNTED: Readonly<Record<string, number>> = {
  'ec-p256 X25519': 2770,
  'ec-p256 X25519MLKEM768': 5034,
  'ml-dsa-65 X25519': 29_748,
  'ml-dsa-65 X25519MLKEM768': 32_012,
};
/** Milliseconds of one turn: short, so that all four see the same weather on a shared machine. */
const TURN_MS = 300;
const WARM_UP = 1;
const ROUNDS = 9;
const HOUR = 3_600_000;
const ID = 'spiffe://example.org/ns/shop/sa/';

interface Side {
  readonly context: SecureContext;
}

interface Case {
  readonly key: KeyAlgorithm;
  readonly group: (typeof GROUPS)[number];
  readonly client: Side;
  readonly server: Side;
}

/** What went over the wire, TLS records with their headers, in bytes. */
interface Flights {
  readonly hello: number;
  readonly server: number;
  readonly client: number;
  /** What the server sends after the handshake, and how many session tickets the client found in it. */
  readonly after: number;
  readonly tickets: number;
}

/** Prints the table. Throws where a handshake fails or agrees on another group. */
export async function bench(report: Report): Promise<void> {
  const cases: Case[] = [];
  for (const key of KEYS) for (const group of GROUPS) cases.push(await caseOf(key, group));
  const flights: Flights[] = [];
  for (const each of cases) flights.push(await flightsOf(each));
  const rates = await ratesOf(cases);
  report('leaf + one intermediate on each side, no resumption; TLS records in bytes, both directions');
  report(
    'keys       exchange        ClientHello  server flight  client flight    total  elsewhere  handshakes/s',
  );
  const base = median(rates[0] ?? []);
  for (const [i, { key, group }] of cases.entries()) {
    const { hello, server, client } = flights[i] as Flights;
    const total = hello + server + client;
    const counted = COUNTED[`${key} ${group}`] ?? Number.NaN;
    const rate = median(rates[i] ?? []);
    report(
      [
        key.padEnd(9),
        group.padEnd(15),
        bytes(hello, 11),
        bytes(server, 13),
        bytes(client, 14),
        bytes(total, 8),
        `${total >= counted ? '+' : ''}${(((total - counted) / counted) * 100).toFixed(1)} %`.padStart(10),
        `${Math.round(rate)} (${(rate / base).toFixed(2)})`.padStart(13),
      ].join('  '),
    );
  }
  const after = [...new Set(flights.map((each) => `${each.after} bytes, ${each.tickets} session tickets`))];
  report(`sent by the server after each handshake, though SSL_OP_NO_TICKET is set: ${after.join('; ')}`);
  report('handshakes/s: both sides in one thread over loopback, with chain verification on both sides');
}

async function caseOf(key: KeyAlgorithm, group: Case['group']): Promise<Case> {
  const now = Date.now();
  const times = { notBefore: now - HOUR, notAfter: now + 24 * HOUR };
  const rootSigner = signerOf(generateKey(key));
  const common = { trustDomain: 'example.org', ...times, random: randomBytes };
  const root = await issueAuthority({ ...common, signer: rootSigner });
  const side = async (name: string): Promise<Side> => {
    const areaKey = generateKey(key);
    const area = await issueAuthority({
      ...common,
      request: parseRequest(createRequest(areaKey)),
      signer: rootSigner,
      issuer: issuerOf(root),
      pathLength: 0,
    });
    const leafKey = generateKey(key);
    const leaf = await issueX509({
      spiffeId: parseSpiffeId(`${ID}${name}`),
      request: parseRequest(createRequest(leafKey)),
      notBefore: now - 10_000,
      notAfter: now + HOUR,
      issuer: issuerOf(area, [root]),
      signer: signerOf(areaKey),
      random: randomBytes,
    });
    return { context: contextOf(leafKey, [leaf, area], root, group) };
  };
  return { key, group, client: await side('frontend'), server: await side('cartservice') };
}

function contextOf(
  key: Parameters<typeof exportPkcs8>[0],
  chain: readonly Certificate[],
  root: Certificate,
  group: string,
): SecureContext {
  return createSecureContext({
    key: pem('PRIVATE KEY', exportPkcs8(key)),
    cert: chain.map(({ der }) => certificateToPem(der)).join(''),
    ca: certificateToPem(root.der),
    minVersion: 'TLSv1.3',
    ecdhCurve: group,
    secureOptions: constants.SSL_OP_NO_TICKET,
  });
}

/** One handshake over a pipe in memory that counts what passes. */
async function flightsOf({ client, server, group, key }: Case): Promise<Flights> {
  const [near, far] = duplexPair();
  const sent: { from: 'client' | 'server'; size: number }[] = [];
  count(near, (size) => sent.push({ from: 'client', size }));
  count(far, (size) => sent.push({ from: 'server', size }));
  const [ours, theirs] = [clientSocket(near, client), serverSocket(far, server)];
  let tickets = 0;
  ours.on('session', () => tickets++);
  await Promise.all([once(ours, 'secureConnect'), once(theirs, 'secure')]);
  assertDone(ours, theirs);
  const { name } = ours.getEphemeralKeyInfo() as { name?: string };
  if (name !== undefined && name !== group) throw new Error(`${name} was agreed on, not ${group}`);
  // Whatever the server still has to say comes before its first application data.
  theirs.write('x');
  await once(ours, 'data');
  const first = sent.findIndex(({ from }) => from === 'server');
  const second = sent.findIndex(({ from }, i) => i > first && from === 'client');
  const last = sent.findIndex(({ from }, i) => i > second && from === 'server');
  if (first < 0 || second < 0 || last < 0) throw new Error(`an unusual handshake of ${key}`);
  const sum = (from: number, to: number) => sent.slice(from, to).reduce((all, { size }) => all + size, 0);
  /** One byte in a record: header 5, byte 1, type 1, tag 16 (RFC 8446 section 5.2). */
  const data = 23;
  ours.destroy();
  theirs.destroy();
  return {
    hello: sum(0, first),
    server: sum(first, second),
    client: sum(second, last),
    after: sum(last, sent.length) - data,
    tickets,
  };
}

function count(stream: Duplex, take: (size: number) => void): void {
  const write = stream._write.bind(stream);
  stream._write = (chunk: Buffer, encoding, done) => {
    take(chunk.length);
    write(chunk, encoding, done);
  };
}

function clientSocket(stream: Duplex, { context }: Side): TLSSocket {
  return connectTls({
    socket: stream,
    secureContext: context,
    servername: 'cartservice.shop',
    // The chain is verified all the same; a workload has no name but its SPIFFE ID.
    checkServerIdentity: () => undefined,
  });
}

function serverSocket(stream: Duplex, { context }: Side): TLSSocket {
  return new TLSSocket(stream, {
    isServer: true,
    secureContext: context,
    requestCert: true,
    rejectUnauthorized: true,
  });
}

/** Both sides saw the other's certificate, and found its chain good. */
function assertDone(client: TLSSocket, server: TLSSocket): void {
  const fault = verifyErrorOf(server);
  if (fault) throw fault;
  for (const socket of [client, server]) {
    const { subjectaltname } = socket.getPeerCertificate();
    if (!subjectaltname?.includes(ID)) throw new Error('the peer has shown no SVID');
  }
}

/** What is wrong with the certificate of a server's peer; null where it is good. */
function verifyErrorOf(socket: TLSSocket): Error | null | undefined {
  // What tls.createServer() itself asks; the documented `authorized` is only set by it.
  const { _handle: handle } = socket as unknown as {
    _handle: { verifyError(): Error | null | undefined };
  };
  return handle.verifyError();
}

async function ratesOf(cases: readonly Case[]): Promise<number[][]> {
  const rates = cases.map((): number[] => []);
  const servers = await Promise.all(cases.map(listen));
  try {
    for (let round = 0; round < WARM_UP + ROUNDS; round++) {
      for (const [i, each] of cases.entries()) {
        const rate = await turn(each, (servers[i] as Server).address() as AddressInfo);
        if (round >= WARM_UP) rates[i]?.push(rate);
      }
    }
  } finally {
    for (const server of servers) server.close();
  }
  return rates;
}

async function listen({ server }: Case): Promise<Server> {
  const listener = createServer((socket) => {
    const tls = serverSocket(socket, server);
    tls.on('error', () => socket.destroy());
    // One byte tells the client that the server has found its certificate good.
    tls.once('secure', () => tls.end(verifyErrorOf(tls) ? '' : 'x'));
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return listener;
}

async function turn({ client }: Case, { port }: AddressInfo): Promise<number> {
  const start = performance.now();
  let done = 0;
  while (performance.now() - start < TURN_MS) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const tls = clientSocket(socket, client);
    const [data] = (await once(tls, 'data')) as [Buffer];
    if (data.toString() !== 'x' || !tls.authorized) throw new Error('a handshake has failed');
    socket.destroy();
    done++;
  }
  return (done / (performance.now() - start)) * 1000;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function bytes(count: number, width: number): string {
  return count.toLocaleString('en').padStart(width);
}

if (import.meta.main) await bench(console.log);

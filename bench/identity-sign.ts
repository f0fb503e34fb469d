// How fast X509-SVIDs are signed from certificate requests, against the bare signature and against @peculiar/x509.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, webcrypto } from 'node:crypto';
import { parseSpiffeId, type SpiffeId } from '../src/access/index.ts';
import {
  checkIssuedFields,
  createRequest,
  exportPkcs8,
  generateKey,
  type IssuerInfo,
  issueAuthority,
  issuerOf,
  issueX509,
  leafTemplate,
  newSerial,
  parseRequest,
  pooledRandom,
  type Signer,
  signCertificate,
  signerOf,
} from '../src/identity/index.ts';
import * as peculiar from '../src/identity/x509/peculiar.test-helper.ts';

type Report = (line: string) => void;

/** Requests of as many keys, so that nothing is quick only because it was seen before. */
const REQUESTS = 512;
/** Milliseconds of one turn: short, so that all see the same weather on a shared machine. */
const TURN_MS = 150;
const WARM_UP = 3;
const ROUNDS = 11;
/** Requests under way at a time where signatures are checked in the thread pool. */
const UNDER_WAY = 16;
const HOUR = 3_600_000;

interface Asked {
  readonly der: Buffer;
  readonly spiffeId: SpiffeId;
}

interface Setting {
  readonly asked: readonly Asked[];
  readonly issuer: IssuerInfo;
  readonly signer: Signer;
  readonly now: number;
  readonly random: (size: number) => Uint8Array;
  readonly theirs: Theirs;
}

/** What @peculiar/x509 needs of the same authority. */
interface Theirs {
  readonly signingKey: webcrypto.CryptoKey;
  readonly publicKey: webcrypto.CryptoKey;
  readonly issuer: string;
  readonly extensions: peculiar.Extension[];
}

const ECDSA = { name: 'ECDSA', namedCurve: 'P-256' };
const ECDSA_SHA256 = { name: 'ECDSA', hash: 'SHA-256' };

async function settingOf(): Promise<Setting> {
  const key = generateKey('ec-p256');
  const signer = signerOf(key);
  const now = Date.now();
  const times = { notBefore: now - HOUR, notAfter: now + 24 * HOUR };
  const root = await issueAuthority({ trustDomain: 'example.org', ...times, signer, random: randomBytes });
  const asked = Array.from({ length: REQUESTS }, (_, i) => ({
    der: createRequest(generateKey('ec-p256')),
    spiffeId: parseSpiffeId(`spiffe://example.org/ns/shop-${i % 20}/sa/service-${i}`),
  }));
  const signingKey = await webcrypto.subtle.importKey(
    'pkcs8',
    new Uint8Array(exportPkcs8(key)),
    ECDSA,
    false,
    ['sign'],
  );
  const publicKey = await webcrypto.subtle.importKey('spki', new Uint8Array(signer.spki), ECDSA, true, [
    'verify',
  ]);
  const read = new peculiar.X509Certificate(new Uint8Array(root.der));
  const theirs = {
    signingKey,
    publicKey,
    issuer: read.subject,
    extensions: [
      new peculiar.KeyUsagesExtension(peculiar.KeyUsageFlags.digitalSignature, true),
      new peculiar.ExtendedKeyUsageExtension(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']),
      new peculiar.BasicConstraintsExtension(false, undefined, true),
      await peculiar.AuthorityKeyIdentifierExtension.create(publicKey, false, webcrypto),
    ],
  };
  return { asked, issuer: issuerOf(root), signer, now, random: pooledRandom(randomBytes), theirs };
}

/** Does the job once for the request given. */
type Job = (setting: Setting, asked: Asked) => unknown;

const bareSign: Job = ({ signer }, { der }) => signer.sign(der);

/** What the main thread does for one SVID, beside handing two signatures to the thread pool. */
const fromRequest: Job = ({ issuer, signer, now, random }, { der, spiffeId }) => {
  const { spki } = parseRequest(der);
  const times = { notBefore: now - 10_000, notAfter: now + HOUR };
  const template = leafTemplate({ spiffeId, spki, ...times, serial: newSerial(random), issuer });
  return checkIssuedFields(signCertificate(template, signer), template);
};

const whole: Job = ({ issuer, signer, now, random }, { der, spiffeId }) => {
  const times = { notBefore: now - 10_000, notAfter: now + HOUR };
  return issueX509({ request: parseRequest(der), spiffeId, ...times, issuer, signer, random });
};

/** The same certificate by @peculiar/x509, read back; nothing is verified. */
async function theirJob(
  { theirs, now }: Setting,
  { der, spiffeId }: Asked,
): Promise<[peculiar.Pkcs10CertificateRequest, peculiar.X509Certificate]> {
  const request = new peculiar.Pkcs10CertificateRequest(new Uint8Array(der));
  const made = await peculiar.X509CertificateGenerator.create(
    {
      subject: 'O=Interlock',
      issuer: theirs.issuer,
      notBefore: new Date(now - 10_000),
      notAfter: new Date(now + HOUR),
      publicKey: request.publicKey,
      signingKey: theirs.signingKey,
      signingAlgorithm: ECDSA_SHA256,
      extensions: [
        ...theirs.extensions,
        await peculiar.SubjectKeyIdentifierExtension.create(request.publicKey, false, webcrypto),
        new peculiar.SubjectAlternativeNameExtension([{ type: 'url', value: spiffeId }]),
      ],
    },
    webcrypto,
  );
  return [request, new peculiar.X509Certificate(made.rawData)];
}

const theirWhole: Job = async (setting, asked) => {
  const [request, certificate] = await theirJob(setting, asked);
  const publicKey = setting.theirs.publicKey;
  const checks = [
    request.verify(webcrypto),
    certificate.verify({ publicKey, signatureOnly: true }, webcrypto),
  ];
  if ((await Promise.all(checks)).includes(false)) throw new Error('a signature is wrong');
};

const JOBS: readonly (readonly [name: string, job: Job, underWay: number])[] = [
  ['bare node:crypto signatures, P-256', bareSign, 0],
  ["SVIDs from a CSR, the main thread's work", fromRequest, 0],
  ['SVIDs from a CSR, both signatures verified', whole, UNDER_WAY],
  ['@peculiar/x509, nothing verified', theirJob, UNDER_WAY],
  ['@peculiar/x509, both signatures verified', theirWhole, UNDER_WAY],
];

/**
 * Each job's rate, in jobs a second, for every round. Each job has a process of its own, so that none pays for the
 * garbage of another, nor forgets compiled code while another runs; they take turns on the same cores.
 */
async function measure(cores: string, rate: (turn: Turn) => number): Promise<number[][]> {
  const processes = JOBS.map((_, i) => startOn(cores, i));
  try {
    const rates: number[][] = JOBS.map(() => []);
    for (let round = 0; round < WARM_UP + ROUNDS; round++) {
      for (const [i, one] of processes.entries()) {
        const taken = await turnOf(one);
        if (round >= WARM_UP) rates[i]?.push(rate(taken));
      }
    }
    return rates;
  } finally {
    for (const one of processes) one.kill();
  }
}

/** A process that may use these cores (taskset of util-linux) and takes a turn of the job whenever it is told. */
function startOn(cores: string, job: number): ChildProcess {
  return spawn('taskset', ['-c', cores, process.execPath, import.meta.filename, String(job)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

function turnOf(one: ChildProcess): Promise<Turn> {
  return new Promise((resolve, reject) => {
    const failed = () => reject(new Error('a process ended early; taskset (util-linux) is needed here'));
    one.once('error', failed).once('exit', failed);
    one.once('message', (taken) => {
      one.off('error', failed).off('exit', failed);
      // Sent by takeTurns.
      resolve(taken as Turn);
    });
    one.send('turn');
  });
}

/** The other side of {@link startOn}. */
async function takeTurns(job: number): Promise<void> {
  const [, work, underWay] = JOBS[job] as (typeof JOBS)[number];
  const setting = await settingOf();
  process.on('message', () => {
    void turn(setting, work, underWay).then((taken) => process.send?.(taken));
  });
}

/** Jobs in one turn, and what they took, in seconds of the clock and of the processor with all threads. */
interface Turn {
  readonly done: number;
  readonly seconds: number;
  readonly processor: number;
}

async function turn(setting: Setting, job: Job, underWay: number): Promise<Turn> {
  const [start, used] = [performance.now(), process.cpuUsage()];
  let done = 0;
  const isTime = () => performance.now() - start < TURN_MS;
  const one = () => job(setting, setting.asked[done++ % REQUESTS] as Asked);
  if (underWay === 0) while (isTime()) for (let i = 0; i < 32; i++) one();
  const worker = async () => {
    while (isTime()) await one();
  };
  await Promise.all(Array.from({ length: underWay }, worker));
  const { user, system } = process.cpuUsage(used);
  return { done, seconds: (performance.now() - start) / 1000, processor: (user + system) / 1e6 };
}

/** Prints rates and ratios on one core and what a second core adds where there is one. */
export async function bench(report: Report): Promise<void> {
  const one = await measure('0', ({ done, processor }) => done / processor);
  report(
    'on one core, a second of processor time with all threads, which others on the machine do not change:',
  );
  for (const [i, [name]] of JOBS.entries()) report(`${name.padEnd(44)} ${perSecond(one[i])}`);
  report(`main thread's work / bare signature: ${ratio(one, 1, 0)}  (goal: at least 0.6)`);
  report(`main thread's work / @peculiar/x509, nothing verified: ${ratio(one, 1, 3)}  (goal: at least 10)`);
  report(`both verified / @peculiar/x509, both verified: ${ratio(one, 2, 4)}`);
  report(`both verified / bare signature: ${ratio(one, 2, 0)}  (two verifications cost seven signatures)`);
  const two = await measure('0,1', ({ done, seconds }) => done / seconds);
  report(`${'on two cores by the clock, both verified'.padEnd(44)} ${perSecond(two[2])}`);
}

function ratio(rates: readonly number[][], one: number, other: number): string {
  const pairs = (rates[one] ?? []).map((rate, round) => rate / (rates[other]?.[round] ?? Number.NaN));
  return `${median(pairs).toFixed(2)}, median of ${pairs.length} interleaved pairs`;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function perSecond(rates: readonly number[] | undefined): string {
  return `${Math.round(median(rates ?? []))
    .toLocaleString('en')
    .padStart(8)} a second`;
}

if (import.meta.main) {
  const [job] = process.argv.slice(2);
  if (job === undefined) await bench(console.log);
  else await takeTurns(Number(job));
}

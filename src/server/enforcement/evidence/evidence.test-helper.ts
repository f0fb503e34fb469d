import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { parseSpiffeId, type Tally } from '../../../access/index.ts';
import { ReportSchema } from '../../../proto/proxy/index.ts';
import type { LiveBatch, ReportMark } from '../../../store/index.ts';
import type { Reporter } from './intake.ts';
import type { EvidenceSink } from './live-evidence.ts';

export const web = parseSpiffeId('spiffe://example.org/ns/shop/sa/web');
export const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');

/** A proxy of the cart. */
export function reporterOf(instance = 'a', over: Partial<Reporter> = {}): Reporter {
  return { key: `${cart}#${instance}`, kind: 'proxy', identity: cart, instance, workloads: [cart], ...over };
}

type Init = MessageInitShape<typeof ReportSchema>;
type Entry<Field extends 'accesses' | 'flips' | 'plaintext'> = NonNullable<Init[Field]>[number];

/** One call to the cart at a time, of one path. */
export function accessAt(at: number, over: Partial<Entry<'accesses'>> = {}): Entry<'accesses'> {
  return {
    from: { spiffeId: web },
    to: cart,
    action: { kind: 'http', port: 80, name: 'GET', text: '/a' },
    ok: 1n,
    mutual: 1n,
    firstSeen: BigInt(at),
    lastSeen: BigInt(at),
    instance: '10.0.0.7',
    ...over,
  } as Entry<'accesses'>;
}

/** One request that the target would deny. */
export function flipAt(at: number, over: Partial<Entry<'flips'>> = {}): Entry<'flips'> {
  return {
    from: { spiffeId: web },
    to: cart,
    action: { kind: 'http', port: 80, name: 'GET', text: '/a' },
    before: { allowed: true, decidedBy: 'no-policy' },
    after: { allowed: false, decidedBy: 'no-rule' },
    count: 1n,
    firstSeen: BigInt(at),
    lastSeen: BigInt(at),
    ...over,
  } as Entry<'flips'>;
}

export function reportOf(sequence: number, over: Init = {}, epoch = 1) {
  return create(ReportSchema, { sequence: BigInt(sequence), epoch: Buffer.from([epoch]), ...over });
}

/** A store that does what it is told to, and keeps what it was given. */
export class FakeSink implements EvidenceSink {
  readonly batches: { readonly batch: LiveBatch; readonly tallies: readonly Tally[] }[] = [];
  /** Thrown instead of keeping. */
  fault: Error | undefined;
  /** Waited for before anything is kept: a disk that hangs. */
  hang: Promise<void> | undefined;
  /** Set: the next one is kept, but its answer is lost. */
  losesAnswer = false;
  closed = false;
  readonly #marks = new Map<string, number>();

  async addLive(batch: LiveBatch, tallies: readonly Tally[]): Promise<readonly ReportMark[]> {
    await this.hang;
    if (this.fault !== undefined && !this.losesAnswer) throw this.fault;
    const key = ({ reporter, epoch }: ReportMark) => `${reporter} ${epoch}`;
    const known = batch.marks.filter((mark) => (this.#marks.get(key(mark)) ?? 0) >= mark.sequence);
    if (known.length > 0) return known;
    for (const mark of batch.marks)
      this.#marks.set(key(mark), Math.max(mark.sequence, this.#marks.get(key(mark)) ?? 0));
    this.batches.push({ batch, tallies });
    if (this.losesAnswer) {
      this.losesAnswer = false;
      throw this.fault ?? new Error('a sink that loses its answer has a fault to throw');
    }
    return [];
  }

  /** Calls that were kept, over all batches. */
  get calls(): number {
    return this.batches.reduce(
      (sum, { tallies }) => sum + tallies.reduce((n, tally) => n + tally.accepted, 0),
      0,
    );
  }

  /** Events that are known to be lost. */
  get lost(): number {
    return this.batches.reduce(
      (sum, { tallies }) =>
        sum + tallies.reduce((n, tally) => [...tally.lost.values()].reduce((a, b) => a + b, n), 0),
      0,
    );
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}

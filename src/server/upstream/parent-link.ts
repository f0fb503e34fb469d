import { create } from '@bufbuild/protobuf';
import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { InterlockError } from '../../access/index.ts';
import { createRequest, generateKey } from '../../identity/index.ts';
import { type FromAgent, FromAgentSchema, type FromServer } from '../../proto/index.ts';
import type { Timers } from '../timers.ts';
import type { ChildSvid, ParentClient } from './parent-client.ts';
import { refusal } from './parent-client.ts';

/** First and longest wait before the next try; each is spread over its whole length. */
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;
/** How long the answer to a renewal may take. */
const ANSWER_MS = 30_000;

export interface ParentLinkOptions {
  readonly timers: Timers;
  readonly version: string;
  /** A client with the SVID and bundles of now. */
  readonly client: () => ParentClient;
  readonly onMessage: (message: FromServer['message']) => void;
  readonly onOnline: (error: InterlockError | undefined) => void;
}

type Stream = ClientDuplexStream<FromAgent, FromServer>;

/** The lasting stream to the parent, opened again when it ends. */
export class ParentLink {
  readonly #options: ParentLinkOptions;
  #client: ParentClient | undefined;
  /** The parent has let this control plane in. */
  #isOpen = false;
  #stream: Stream | undefined;
  #failures = 0;
  #closed = false;
  #cancel = () => {};
  #renewal: { resolve: (chain: Buffer[]) => void; reject: (error: Error) => void } | undefined;

  constructor(options: ParentLinkOptions) {
    this.#options = options;
  }

  start(): void {
    this.#open();
  }

  /** The connection, for other calls over it; undefined while there is none. */
  get client(): ParentClient | undefined {
    return this.#isOpen ? this.#client : undefined;
  }

  /** Tells the parent which states are in force here and at the agents below. */
  confirm(versions: { bundles: bigint; rules: bigint; revocations: bigint }): void {
    const { bundles, rules, revocations } = versions;
    this.#send({
      case: 'confirm',
      value: {
        $typeName: 'interlock.agent.v1.Confirm',
        bundlesVersion: bundles,
        rulesVersion: rules,
        revocationsVersion: revocations,
      },
    });
  }

  /** Tells the parent which of its certificates are used no more (serials, hex); false where there is no connection. */
  dropped(serials: readonly string[]): boolean {
    if (!this.#isOpen) return false;
    const bytes = serials.map((serial) => Buffer.from(serial, 'hex'));
    this.#send({ case: 'dropped', value: { $typeName: 'interlock.agent.v1.Dropped', serials: bytes } });
    return true;
  }

  /** Asks for a new SVID; its chain, DER. Rejects with `unavailable` while there is no connection. */
  renew(): Promise<ChildSvid> {
    const key = generateKey('ec-p256');
    if (this.#stream === undefined) return Promise.reject(unavailable('it is not connected'));
    return new Promise<ChildSvid>((resolve, reject) => {
      const cancel = this.#options.timers.after(ANSWER_MS, () => reject(unavailable('it did not answer')));
      this.#renewal = {
        resolve: (chain) => {
          cancel();
          resolve({ key, chain });
        },
        reject: (error) => {
          cancel();
          reject(error);
        },
      };
      this.#send({
        case: 'renew',
        value: { $typeName: 'interlock.agent.v1.Renew', request: 1n, csr: createRequest(key) },
      });
    });
  }

  /** Connects anew, with what the client now has. */
  reconnect(): void {
    this.#failures = 0;
    this.#end();
    this.#open();
  }

  close(): void {
    this.#closed = true;
    this.#end();
  }

  #open(): void {
    this.#cancel();
    if (this.#closed) return;
    this.#client = this.#options.client();
    const stream = this.#client.connect();
    this.#stream = stream;
    stream.once('metadata', () => {
      if (this.#stream !== stream) return;
      this.#failures = 0;
      this.#isOpen = true;
      this.#options.onOnline(undefined);
      this.#send({
        case: 'hello',
        value: {
          $typeName: 'interlock.agent.v1.Hello',
          version: this.#options.version,
          rulesVersion: 0n,
          held: [],
          takesTargets: true,
        },
      });
    });
    stream.on('data', ({ message }: FromServer) => {
      if (this.#stream === stream) this.#take(message);
    });
    stream.on('error', (error: ServiceError) => this.#lost(stream, refusal(error)));
    stream.on('end', () => this.#lost(stream, unavailable('it ended the connection')));
  }

  #take(message: FromServer['message']): void {
    if (message.case === 'signedX509') {
      this.#renewal?.resolve(message.value.chain.map((der) => Buffer.from(der)));
      this.#renewal = undefined;
    } else if (message.case === 'refused') {
      this.#renewal?.reject(
        new InterlockError('forbidden', 'parent', `the parent: ${message.value.message}`),
      );
      this.#renewal = undefined;
    } else if (message.case === 'drain') {
      const { timers } = this.#options;
      this.#cancel();
      this.#cancel = timers.after(message.value.withinMs * timers.random(), () => this.reconnect());
    } else this.#options.onMessage(message);
  }

  #lost(stream: Stream, error: InterlockError): void {
    if (this.#stream !== stream) return;
    this.#end();
    this.#options.onOnline(error);
    if (this.#closed) return;
    const { timers } = this.#options;
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(this.#failures, 10));
    this.#failures++;
    this.#cancel = timers.after(longest * timers.random(), () => this.#open());
  }

  #end(): void {
    this.#cancel();
    const stream = this.#stream;
    this.#stream = undefined;
    this.#isOpen = false;
    stream?.cancel();
    this.#client?.close();
    this.#client = undefined;
    this.#renewal?.reject(unavailable('the connection ended'));
    this.#renewal = undefined;
  }

  #send(message: FromAgent['message']): void {
    this.#stream?.write(create(FromAgentSchema, { message }));
  }
}

function unavailable(why: string): InterlockError {
  return new InterlockError('unavailable', 'parent', `the parent cannot be asked: ${why}`);
}

// A process of a benchmark that is told what to do, and tells what happens in it.
import { type ChildProcess, spawn } from 'node:child_process';
import { ended } from './identity-parts.ts';

/** What every such process may tell: something has gone wrong in it. */
export interface Fault {
  readonly is: 'fault';
  readonly reason: string;
}

/** What a workload has been told: `at` in milliseconds of the monotonic clock that all processes of a machine share. */
export interface StateTold {
  readonly is: 'state';
  readonly uid: number;
  readonly at: number;
  readonly ids: readonly string[];
}

/** A process that runs `file`, takes orders and sends messages. */
export class Child<Order extends object, Message extends { readonly is: string }> {
  readonly #child: ChildProcess;
  readonly #listeners = new Set<(message: Message | Fault) => void>();

  constructor(file: string, nodeOptions: readonly string[] = []) {
    this.#child = spawn(process.execPath, [...nodeOptions, file], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    // Only the module that is run there sends.
    this.#child.on('message', (message) => {
      for (const listener of this.#listeners) listener(message as Message | Fault);
    });
    // Whoever waits for it then is told; when it is stopped, nobody does.
    this.#child.once('exit', (code, signal) => {
      const reason = `a process of the benchmark ended: ${code ?? signal}`;
      for (const listener of this.#listeners) listener({ is: 'fault', reason });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Sends an order, and gives the next message of this kind. */
  ask<Kind extends Message['is']>(order: Order, kind: Kind): Promise<Extract<Message, { is: Kind }>> {
    const answer = this.next(kind);
    this.#child.send(order);
    return answer;
  }

  /** The next message of this kind. Rejects at a fault. */
  next<Kind extends Message['is']>(kind: Kind): Promise<Extract<Message, { is: Kind }>> {
    return new Promise((resolve, reject) => {
      const stop = this.onMessage((message) => {
        if (message.is !== kind && message.is !== 'fault') return;
        stop();
        if (message.is === kind) resolve(message as Extract<Message, { is: Kind }>);
        else reject(new Error((message as Fault).reason));
      });
    });
  }

  onMessage(listener: (message: Message | Fault) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  stop(): Promise<void> {
    return ended(this.#child);
  }
}

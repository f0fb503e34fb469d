import { request } from 'node:http';
import { join } from 'node:path';
import type { Opened } from '../identity/harness.ts';
import { interlock, type Running } from '../identity/processes.ts';
import { PathApi } from '../path-api.ts';

/** What a control plane answered. */
export interface Answered {
  readonly status: number;
  /** Seconds of "Retry-After". */
  readonly retryAfter?: number;
  readonly body: Readonly<Record<string, unknown>>;
  /** How long it took, milliseconds. */
  readonly ms: number;
}

/** One control plane, as a process that is killed and started again. */
export class UpPlane {
  readonly state: string;
  readonly api: PathApi;
  readonly #opened: Opened;
  readonly #args: readonly string[];
  #running: Running | undefined;
  port = 0;
  /** Of API and console. */
  origin = '';

  constructor(opened: Opened, ...args: readonly string[]) {
    this.#opened = opened;
    this.state = join(opened.dir(), 'state');
    this.api = new PathApi(this.state);
    this.#args = args;
  }

  async start(): Promise<this> {
    const listen = ['--listen', `127.0.0.1:${this.port}`, '--http', '127.0.0.1:0'];
    this.#running = interlock(this.#opened, 'up', '--state', this.state, '--json', ...listen, ...this.#args);
    const { fields } = await this.#running.log.line('the control plane serves');
    this.port = Number(fields['port']);
    this.origin = String(fields['http']);
    return this;
  }

  async kill(): Promise<void> {
    await this.#running?.kill();
  }

  get log() {
    return this.#running?.log.lines ?? [];
  }

  /** Calls the socket in the state directory, and gives whatever is answered. */
  ask(method: string, path: string, body?: object): Promise<Answered> {
    const from = performance.now();
    const headers = { 'x-interlock-user': 'test', ...(body && { 'content-type': 'application/json' }) };
    return new Promise((resolve, reject) => {
      const socketPath = join(this.state, 'api.sock');
      const call = request({ socketPath, method, path, headers, agent: false }, (response) => {
        let text = '';
        response.on('data', (part) => (text += String(part)));
        response.on('error', reject);
        response.on('end', () => {
          const after = response.headers['retry-after'];
          resolve({
            status: response.statusCode ?? 0,
            ...(after === undefined ? {} : { retryAfter: Number(after) }),
            body: text === '' ? {} : (JSON.parse(text) as Answered['body']),
            ms: performance.now() - from,
          });
        });
      });
      call.on('error', reject);
      call.end(body && JSON.stringify(body));
    });
  }

  /** What somebody without a sign-in is told at the HTTP port. */
  async health(path: '/healthz' | '/readyz'): Promise<Answered> {
    const from = performance.now();
    const answer = await fetch(`${this.origin}${path}`);
    const text = await answer.text();
    const body = text.startsWith('{') ? (JSON.parse(text) as Answered['body']) : {};
    return { status: answer.status, body, ms: performance.now() - from };
  }
}

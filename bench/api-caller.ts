// The caller of the API's benchmark, in a thread of its own: what it does with answers holds the server up no more than a
// caller elsewhere would.
import { Agent, request } from 'node:http';
import { performance } from 'node:perf_hooks';
import { parentPort, workerData } from 'node:worker_threads';

/** What is asked for: a path so many times, or a list page after page to its end. */
export interface Asked {
  readonly path: string;
  readonly rounds: number;
  readonly isPaged: boolean;
}

/** Times from the question to the last byte, milliseconds, and the bytes of the last answer. */
export interface Answered {
  readonly times: readonly number[];
  readonly bytes: number;
}

// The words of the thread that starts this one.
const { port } = workerData as { readonly port: number };
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function ask(path: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const call = request({ agent, host: '127.0.0.1', port, path }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        if (response.statusCode === 200) resolve(Buffer.concat(chunks));
        else reject(new Error(`${path} is answered with ${response.statusCode}`));
      });
    });
    call.on('error', reject);
    call.end();
  });
}

async function answered({ path, rounds, isPaged }: Asked): Promise<Answered> {
  const times: number[] = [];
  let bytes = 0;
  for (let i = 0; i < rounds; i++) {
    for (let after: string | undefined = ''; after !== undefined; ) {
      const start = performance.now();
      const answer = await ask(after === '' ? path : `${path}?after=${after}`);
      times.push(performance.now() - start);
      bytes = answer.length;
      after = isPaged ? (JSON.parse(answer.toString()) as { readonly next?: string }).next : undefined;
    }
  }
  return { times, bytes };
}

parentPort?.on('message', (asked: Asked) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin to name
  void answered(asked).then((answer) => parentPort?.postMessage(answer));
});

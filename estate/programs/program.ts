import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';

// What every program of the shop is made of. None of them knows of identities, policies or proxies: they speak plain
// text to the addresses that their environment names, as programs do.

/** A body that is longer is not read. */
const MAX_BODY_BYTES = 64 * 1024;
const CALL_MS = 10_000;
const agent = new Agent({ keepAlive: true });

/** A setting of this program, from its environment. Throws where it is missing. */
export function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '') throw new Error(`the environment has no ${name}`);
  return value;
}

/** Addresses of one callee: each call takes the next one. */
export function turns(name: string): () => string {
  const all = setting(name).split(',');
  let turn = 0;
  return () => all[turn++ % all.length] ?? '';
}

/** Writes one line to the log of this program. */
export function log(event: string, fields: Readonly<Record<string, unknown>> = {}): void {
  process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), event, ...fields })}\n`);
}

/** Says to whoever started this program that it serves now. */
export function isReady(): void {
  log('ready');
  process.send?.({ ready: true });
}

/** What one route answers: JSON, with status 200. */
export type Answers = (params: readonly string[], body: unknown) => unknown;
/** By method and path, in which `*` stands for one segment: "GET /products/*". */
export type Routes = Readonly<Record<string, Answers>>;

/** Thrown by a route for another status than 200. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Serves HTTP on the port of a setting; resolves once it listens. */
export function serveHttp(portSetting: string, routes: Routes): Promise<void> {
  const table = Object.entries(routes).map(([route, answers]) => {
    const [method = '', path = ''] = route.split(' ');
    return { method, segments: path.split('/'), answers };
  });
  const server = createServer((message, response) => {
    void answer(table, message, response);
  });
  // Longer than any proxy keeps an idle connection, so that this end never closes one just as a request comes.
  server.keepAliveTimeout = 120_000;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(Number(setting(portSetting)), '127.0.0.1', () => resolve());
  });
}

type Table = readonly { method: string; segments: readonly string[]; answers: Answers }[];

async function answer(table: Table, message: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method = '', url = '/' } = message;
  const [path = '/'] = url.split('?');
  const given = path.split('/');
  const found = table.find(
    (row) =>
      row.method === method &&
      row.segments.length === given.length &&
      row.segments.every((segment, i) => segment === '*' || segment === given[i]),
  );
  let status = 200;
  let body: unknown;
  try {
    const sent = await bodyOf(message);
    if (found === undefined) throw new Refusal(404, 'no such thing');
    body = await found.answers(
      given.filter((_, i) => found.segments[i] === '*'),
      sent,
    );
  } catch (error) {
    status = error instanceof Refusal ? error.status : 500;
    body = { error: error instanceof Error ? error.message : String(error) };
  }
  log('request', { method, path, status });
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

async function bodyOf(message: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const bytes of message) {
    text += String(bytes);
    if (text.length > MAX_BODY_BYTES) throw new Refusal(413, 'too long');
  }
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal(400, 'no JSON');
  }
}

/** Calls another service over HTTP and gives its JSON. Throws a {@link Refusal} (502) where it does not answer 200. */
export function ask<T>(method: string, url: string, body?: unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    const failed = (why: string) => reject(new Refusal(502, `${method} ${url}: ${why}`));
    const payload = body === undefined ? '' : JSON.stringify(body);
    const headers = {
      'content-length': Buffer.byteLength(payload),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    };
    const call = request(url, { method, agent, headers, timeout: CALL_MS }, (response) => {
      let text = '';
      response.on('data', (bytes: Buffer) => (text += String(bytes)));
      response.on('error', (error) => failed(error.message));
      response.on('end', () => {
        if (response.statusCode !== 200) return failed(`${response.statusCode} ${text.slice(0, 200)}`);
        try {
          // The programs of the shop know each other's answers.
          resolve(JSON.parse(text) as T);
        } catch {
          failed(`no JSON: ${text.slice(0, 200)}`);
        }
      });
    });
    call.on('timeout', () => call.destroy(new Error('no answer in time')));
    call.on('error', (error) => failed(error.message));
    call.end(payload);
  });
}

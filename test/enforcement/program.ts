import { Agent, createServer, request } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';

/**
 * A program that knows nothing of identities, as a process of its own; its parent talks to it over IPC. `http` answers every
 * request with its path, after it has asked those that it calls itself; `tcp` sends every line back; `relay` passes connections on
 * to a port, late; `none` only calls. It is told
 * whom to call (`ask`, one call for each request that it answers; `load`, again and again), says how it went (`counts`), and what
 * it was asked (`seen`).
 */
export interface Call {
  readonly name: string;
  readonly port: number;
  /** One line over TCP, where absent. */
  readonly method?: string;
  readonly path?: string;
  readonly body?: string;
  /** Milliseconds between two calls of a load. */
  readonly every?: number;
}

export type ToProgram =
  | { readonly ask: readonly Call[] }
  | { readonly load: readonly Call[] }
  | { readonly counts: true }
  | { readonly seen: true }
  /** A relay's port to connect to, and by how many milliseconds it holds back what goes through, each way. */
  | { readonly relay: { readonly to: number; readonly delay: number } }
  /** Opens a connection, says this much, and nothing more: it stays open, whatever comes. */
  | { readonly say: { readonly port: number; readonly text: string } }
  /** Ends what `load` began, after the calls on their way. */
  | { readonly rest: true };

/** How the calls of one name went: reasons of those that failed, the first ones. */
export interface Count {
  ok: number;
  failed: number;
  readonly reasons: string[];
}

const CALL_MS = 20_000;
const MAX_REASONS = 10;
const [kind = 'none'] = process.argv.slice(2);
const tell = (message: object) => process.send?.(message);
const agent = new Agent({ keepAlive: true });
const counts: Record<string, Count> = {};
const seen: string[] = [];
let asks: readonly Call[] = [];
let relayed = { to: 0, delay: 0 };
let rests = false;
let running: Promise<void>[] = [];

function http({ port, method = 'GET', path = '/', body }: Call): Promise<string | undefined> {
  return new Promise((resolve) => {
    const call = request({ host: '127.0.0.1', port, method, path, agent, timeout: CALL_MS }, (response) => {
      let text = '';
      response.on('data', (bytes: Buffer) => (text += String(bytes)));
      response.on('error', (error) => resolve(`the answer broke off: ${error.message}`));
      response.on('end', () =>
        resolve(
          response.statusCode === 200 && text === `${method} ${path} ${body?.length ?? 0}`
            ? undefined
            : `${response.statusCode} ${text}`,
        ),
      );
    });
    call.on('timeout', () => call.destroy(new Error('no answer in time')));
    call.on('error', (error) => resolve(error.message));
    call.end(body);
  });
}

function tcp({ port }: Call): Promise<string | undefined> {
  return new Promise((resolve) => {
    const line = `${Math.random()}\n`;
    const socket = connect({ host: '127.0.0.1', port, timeout: CALL_MS }, () => socket.end(line));
    let text = '';
    socket.on('data', (bytes: Buffer) => (text += String(bytes)));
    socket.on('timeout', () => socket.destroy(new Error('no answer in time')));
    socket.on('error', (error) => resolve(error.message));
    socket.on('end', () => resolve(text === line ? undefined : `not what was sent: ${text}`));
  });
}

const make = (call: Call) => (call.path === undefined ? tcp(call) : http(call));

async function load(call: Call): Promise<void> {
  const count: Count = { ok: 0, failed: 0, reasons: [] };
  counts[call.name] = count;
  // Set when a message says so.
  // oxlint-disable-next-line no-unmodified-loop-condition
  while (!rests) {
    const reason = await make(call);
    if (reason === undefined) count.ok++;
    else {
      count.failed++;
      if (count.reasons.length < MAX_REASONS) count.reasons.push(`${new Date().toISOString()} ${reason}`);
    }
    await new Promise((resolve) => setTimeout(resolve, call.every ?? 20));
  }
}

async function takes(message: ToProgram): Promise<void> {
  if ('ask' in message) asks = message.ask;
  else if ('load' in message) {
    rests = false;
    running = message.load.map(load);
  } else if ('say' in message) {
    const { port, text } = message.say;
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write(text, () => tell({ said: port })));
    socket.on('error', () => {});
  } else if ('relay' in message) relayed = message.relay;
  else if ('counts' in message) tell({ counts });
  else if ('seen' in message) tell({ seen });
  else {
    rests = true;
    await Promise.all(running);
    tell({ counts });
  }
}

/** Passes on what comes, in its order and as late as the relay is slow. */
function late(from: Socket, to: Socket): void {
  const after = (act: () => void) => setTimeout(act, relayed.delay);
  from.on('data', (bytes: Buffer) => after(() => to.writable && to.write(bytes)));
  from.on('end', () => after(() => to.end()));
  from.on('close', () => after(() => to.destroySoon()));
  from.on('error', () => {});
}

const listening = (server: { address(): unknown }) => tell({ port: (server.address() as AddressInfo).port });

if (kind === 'http') {
  const server = createServer((request, response) => {
    const { method = '', url = '', headers } = request;
    let length = 0;
    request.on('data', (bytes: Buffer) => (length += bytes.length));
    request.on('end', async () => {
      seen.push(`${method} ${url} ${String(headers['x-forwarded-client-cert'] ?? '-')}`);
      const failed = (await Promise.all(asks.map(make))).find((reason) => reason !== undefined);
      if (failed === undefined) response.end(`${method} ${url} ${length}`);
      else response.writeHead(500).end(failed);
    });
  });
  server.listen(0, '127.0.0.1', () => listening(server));
} else if (kind === 'tcp') {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes: Buffer) => seen.push(String(bytes)));
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1', () => listening(server));
} else if (kind === 'relay') {
  const server = createTcpServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const onward = connect({ host: '127.0.0.1', port: relayed.to, allowHalfOpen: true, noDelay: true });
    late(socket, onward);
    late(onward, socket);
  });
  server.listen(0, '127.0.0.1', () => listening(server));
} else tell({ port: 0 });
process.on('message', (message) => void takes(message as ToProgram));
// Who started it is gone.
process.on('disconnect', () => process.exit());

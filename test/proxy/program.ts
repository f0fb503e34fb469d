import { once } from 'node:events';
import { request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

/**
 * A program that knows nothing of proxies, for tests: it takes one order as JSON from each line of its input, and says
 * how it ended in a line of its output. `{listen, host}` serves HTTP at a port and answers with its user and what
 * it is told of its caller; `{get}` asks a URL; `{send, port, host}` sends text over TCP and gives what came back.
 * `{hold}` keeps a connection open to a port once something came, and `{ended}` waits for its end.
 */
interface Order {
  readonly listen?: number;
  readonly get?: string;
  readonly send?: string;
  readonly hold?: number;
  readonly ended?: true;
  readonly host?: string;
  readonly port?: number;
}

const say = (value: object) => console.log(JSON.stringify(value));

async function listen(port: number, host: string): Promise<object> {
  const server = createServer((asked, response) => {
    const caller = asked.headers['x-forwarded-client-cert'] ?? '';
    response.end(`user ${process.getuid?.()} caller ${String(caller)}`);
  });
  server.listen(port, host);
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port };
}

function get(url: string): Promise<object> {
  return new Promise((resolve) => {
    const asked = request(url, { agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode, body }));
    });
    asked.on('error', (error) => resolve({ refused: error.message }));
    asked.end();
  });
}

function send(text: string, host: string, port: number): Promise<object> {
  return new Promise((resolve) => {
    let came = '';
    const socket = connect({ host, port, allowHalfOpen: true });
    socket.on('error', (error) => resolve({ refused: error.message }));
    socket.on('data', (bytes: Buffer) => (came += bytes.toString('latin1')));
    socket.on('end', () => {
      socket.end();
      resolve({ came });
    });
    socket.end(text);
  });
}

/** A connection that is kept open, and when it ends. */
let held: Promise<object> = Promise.resolve({});

function hold(port: number): Promise<object> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.on('error', () => {});
  held = new Promise((resolve) => socket.once('close', () => resolve({ ended: true })));
  return new Promise((resolve) => {
    socket.once('data', (bytes: Buffer) => resolve({ came: String(bytes) }));
    socket.once('close', () => resolve({ ended: true }));
  });
}

for await (const line of createInterface(process.stdin)) {
  const order = JSON.parse(line) as Order;
  if (order.listen !== undefined) say(await listen(order.listen, order.host ?? '127.0.0.1'));
  else if (order.get !== undefined) say(await get(order.get));
  else if (order.hold !== undefined) say(await hold(order.hold));
  else if (order.ended === true) say(await held);
  else if (order.send !== undefined) say(await send(order.send, order.host ?? '127.0.0.1', order.port ?? 0));
}
process.exit(0);

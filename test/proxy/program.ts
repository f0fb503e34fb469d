import { once } from 'node:events';
import { request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { createServer } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { createInterface } from 'node:readline';
import type { ClientDuplexStream } from '@grpc/grpc-js';

/**
 * A program that knows nothing of proxies, for tests: it takes one order as JSON from each line of its input, and says
 * how it ended in a line of its output. `{listen, host}` serves HTTP at a port and answers with its user and what
 * it is told of its caller; `{get}` asks a URL; `{send, port, host}` sends text over TCP and gives what came back.
 * `{hold}` keeps a connection open to a port once something came, and `{ended}` waits for its end.
 * `{h2}` asks a port in HTTP/2. `{grpc, calls}` makes so many gRPC calls at a time over one channel to a port; `{chat}` opens
 * a stream of gRPC to a port, and each `{word}` after it says something there and gives the answer.
 */
interface Order {
  readonly listen?: number;
  readonly get?: string;
  readonly send?: string;
  readonly hold?: number;
  readonly ended?: true;
  readonly h2?: number;
  readonly grpc?: number;
  readonly calls?: number;
  readonly chat?: number;
  readonly word?: string;
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

function h2(port: number): Promise<object> {
  return new Promise((resolve) => {
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    session.on('error', (error) => resolve({ refused: error.message }));
    const stream = session.request({ ':path': '/' });
    let [status, body]: [number | undefined, string] = [undefined, ''];
    stream.on('response', (headers) => (status = headers[':status']));
    stream.on('data', (bytes: Buffer) => (body += String(bytes)));
    stream.on('error', (error: Error) => resolve({ refused: error.message }));
    stream.on('close', () => {
      session.close();
      resolve(status === undefined ? { refused: 'no answer' } : { status, body });
    });
  });
}

const same = (bytes: Buffer) => bytes;

/** A channel of its own to a port. Read here: most tests need no gRPC. */
async function channel(port: number) {
  const { Client, credentials } = await import('@grpc/grpc-js');
  return new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
}

async function grpc(port: number, calls: number): Promise<object> {
  const client = await channel(port);
  const call = () =>
    new Promise<string>((resolve) =>
      client.makeUnaryRequest('/test.Echo/Unary', same, same, Buffer.from('x'), (error, value) =>
        resolve(error === null ? String(value) : `code ${error.code}`),
      ),
    );
  const answers = await Promise.all(Array.from({ length: calls }, call));
  client.close();
  return { answers: [...new Set(answers)], calls: answers.length };
}

/** The stream that is open. */
let talk: ClientDuplexStream<Buffer, Buffer> | undefined;

async function chat(port: number): Promise<object> {
  talk = (await channel(port)).makeBidiStreamRequest('/test.Echo/Chat', same, same);
  return word('hello');
}

function word(text: string): Promise<object> {
  const stream = talk;
  if (stream === undefined) return Promise.resolve({ refused: 'no stream is open' });
  return new Promise((resolve) => {
    stream.once('data', (bytes: Buffer) => resolve({ came: String(bytes) }));
    stream.once('error', (error: Error) => resolve({ refused: error.message }));
    stream.write(Buffer.from(text));
  });
}

for await (const line of createInterface(process.stdin)) {
  const order = JSON.parse(line) as Order;
  if (order.listen !== undefined) say(await listen(order.listen, order.host ?? '127.0.0.1'));
  else if (order.get !== undefined) say(await get(order.get));
  else if (order.hold !== undefined) say(await hold(order.hold));
  else if (order.h2 !== undefined) say(await h2(order.h2));
  else if (order.grpc !== undefined) say(await grpc(order.grpc, order.calls ?? 1));
  else if (order.chat !== undefined) say(await chat(order.chat));
  else if (order.word !== undefined) say(await word(order.word));
  else if (order.ended === true) say(await held);
  else if (order.send !== undefined) say(await send(order.send, order.host ?? '127.0.0.1', order.port ?? 0));
}
process.exit(0);

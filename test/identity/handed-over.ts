import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect, Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

/**
 * Connects to the Workload API at the path, hands the connection to a second process, and ends. The second one asks for
 * SVIDs over it once the first is gone, and a file is there where one is named, and says {"status", "message"}: whose
 * identity would that be?
 */
const [path = '', file = '', parent] = process.argv.slice(2);
if (parent === undefined) {
  const socket = connect(path, () => {
    const args = [fileURLToPath(import.meta.url), path, file, String(process.pid)];
    spawn(process.execPath, args, {
      stdio: ['ignore', 'inherit', 'inherit', socket],
      detached: true,
    }).unref();
    process.exit();
  });
} else {
  const isHeldUp = () => process.ppid === Number(parent) || (file !== '' && !existsSync(file));
  while (isHeldUp()) await new Promise((resolve) => setImmediate(resolve));
  const session = connectHttp2('http://localhost', { createConnection: () => new Socket({ fd: 3 }) });
  const call = session.request({
    ':method': 'POST',
    ':path': '/SpiffeWorkloadAPI/FetchX509SVID',
    'content-type': 'application/grpc',
    te: 'trailers',
    'workload.spiffe.io': 'true',
  });
  const say = (headers: Record<string, unknown>) => {
    if (headers['grpc-status'] === undefined) return;
    console.log(JSON.stringify({ status: Number(headers['grpc-status']), message: headers['grpc-message'] }));
    session.destroy();
  };
  call.on('response', say).on('trailers', say);
  let bytes = 0;
  call.on('data', (chunk: Buffer) => {
    // A message is an identity: the stream stays open behind it.
    if ((bytes += chunk.length) > 5) say({ 'grpc-status': 0, 'grpc-message': chunk.toString('latin1') });
  });
  const cut = () => say({ 'grpc-status': -1, 'grpc-message': 'cut' });
  session.on('error', cut);
  call.on('error', cut);
  // A frame of gRPC without compression around an empty message.
  call.end(Buffer.alloc(5));
}

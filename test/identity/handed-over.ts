import { spawn } from 'node:child_process';
import { connect as connectHttp2 } from 'node:http2';
import { connect, Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

/**
 * Connects to the Workload API at the path, hands the connection to a second process, and ends. The second one asks for
 * SVIDs over it once the first is gone, and says {"status", "message"}: whose identity would that be?
 */
const [path = '', parent] = process.argv.slice(2);
if (parent === undefined) {
  const socket = connect(path, () => {
    const args = [fileURLToPath(import.meta.url), path, String(process.pid)];
    spawn(process.execPath, args, {
      stdio: ['ignore', 'inherit', 'inherit', socket],
      detached: true,
    }).unref();
    process.exit();
  });
} else {
  while (process.ppid === Number(parent)) await new Promise((resolve) => setImmediate(resolve));
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
  // A frame of gRPC without compression around an empty message.
  call.end(Buffer.alloc(5));
  call.resume();
}

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Opened } from '../identity/harness.ts';
import { LogLines } from '../identity/watched.ts';
import { eventually } from './shop.ts';

/** Whether this machine has nginx. */
export function hasNginx(): boolean {
  return spawnSync('nginx', ['-v']).status === 0;
}

/** A web server that others wrote: answers every request with 200, and keeps what it took each for. */
export class Nginx {
  readonly port: number;
  readonly #log: string;

  private constructor(port: number, log: string) {
    this.port = port;
    this.#log = log;
  }

  static async start(opened: Opened): Promise<Nginx> {
    const dir = opened.dir();
    const port = await freePort();
    const log = join(dir, 'access.log');
    const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((name) => `${name}_temp_path ${join(dir, name)};`)
      .join('\n  ');
    writeFileSync(
      join(dir, 'nginx.conf'),
      `daemon off;
master_process off;
pid ${join(dir, 'pid')};
error_log stderr;
events { worker_connections 4096; }
http {
  ${paths}
  log_format asked '$request_method $uri';
  access_log ${log} asked;
  keepalive_requests 1000000;
  server {
    listen 127.0.0.1:${port};
    location / { return 200 "$request_method $uri"; }
  }
}
`,
    );
    const child = spawn('nginx', ['-c', join(dir, 'nginx.conf'), '-p', dir, '-e', 'stderr'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const said = new LogLines();
    child.stderr.on('data', (bytes: Buffer) => said.take(String(bytes)));
    opened.later(() => {
      child.kill('SIGKILL');
      return new Promise((resolve) => child.once('close', resolve));
    });
    await eventually(
      () => existsSync(log),
      'nginx listens',
      () => said.lines,
    );
    return new Nginx(port, log);
  }

  /** What it was asked so far, as it understood it: method and decoded path. */
  get seen(): readonly string[] {
    return readFileSync(this.#log, 'utf8')
      .split('\n')
      .filter((line) => line !== '');
  }
}

/** A port that nobody has at this moment: nginx cannot say which one it got. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

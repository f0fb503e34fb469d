// What the built-in proxy is measured with and against: HAProxy, nginx as the program behind both, a chain of
// certificates, and how a process is started on a core of its own.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { availableParallelism } from 'node:os';
import { certificateToPem } from '../src/identity/index.ts';
import { TestAuthority } from '../src/workload/testing.ts';

/** A root, an intermediate, and two leaves, as PEM files. */
export function writeChain(dir: string): void {
  const root = new TestAuthority('example.org');
  const area = root.child();
  const authorities = [root, area].map(({ certificate }) => certificateToPem(certificate.der));
  writeFileSync(`${dir}/root.pem`, authorities[0] ?? '');
  // `openssl s_time` sends one certificate of a file, and of the authorities that it trusts those above it.
  writeFileSync(`${dir}/above.pem`, authorities.join(''));
  for (const name of ['web', 'db']) {
    const { chain, key } = area.svid(`/${name}`);
    const certificates = chain.map(({ der }) => certificateToPem(der)).join('');
    const pkcs8 = key.export({ type: 'pkcs8', format: 'pem' });
    writeFileSync(`${dir}/${name}.crt`, certificates);
    writeFileSync(`${dir}/${name}.key`, pkcs8, { mode: 0o600 });
    writeFileSync(`${dir}/${name}.pem`, certificates + pkcs8, { mode: 0o600 });
  }
}

/** The same four ports as `proxy-pair.ts`: HTTP out and in, TCP out and in. */
export function haproxyConfig(dir: string, first: number, program: number): string {
  const trust = `ca-file ${dir}/root.pem verify required`;
  const halves = (['http', 'tcp'] as const).map((mode, i) => {
    const [out, inward] = [first + 2 * i, first + 2 * i + 1];
    const caller =
      mode === 'http' ? '  http-request set-header x-forwarded-client-cert URI=%[ssl_c_s_dn]\n' : '';
    return `frontend ${mode}-out
  mode ${mode}
  bind 127.0.0.1:${out}
  default_backend ${mode}-peer
backend ${mode}-peer
  mode ${mode}
  server db 127.0.0.1:${inward} ssl crt ${dir}/web.pem ${trust} no-ssl-reuse
frontend ${mode}-in
  mode ${mode}
  bind 127.0.0.1:${inward} ssl crt ${dir}/db.pem ${trust}
${caller}  default_backend ${mode}-program
backend ${mode}-program
  mode ${mode}
  server program 127.0.0.1:${program}
`;
  });
  return `global
  nbthread 1
  maxconn 4000
  ssl-default-bind-options no-tls-tickets ssl-min-ver TLSv1.2
defaults
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  option http-keep-alive
  http-reuse always
${halves.join('')}`;
}

/** A short answer at \`/\`, and a large file. */
export function nginxConfig(dir: string, port: number): string {
  // Started by root, its worker would be somebody who may not read the folder.
  const user = process.getuid?.() === 0 ? 'user root;\n' : '';
  return `${user}worker_processes 1;
daemon off;
pid ${dir}/nginx.pid;
error_log ${dir}/nginx.log;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 100000000;
  server {
    listen 127.0.0.1:${port};
    root ${dir};
    location = / { return 200 "eighty bytes of an answer, as many a small API gives to those who call upon it.\\n"; }
  }
}
`;
}

const hasTwoCores = availableParallelism() > 1 && spawnSync('taskset', ['-V']).status === 0;

/** The command on one core: 0 for what is measured, 1 for all else. Without a second core, wherever there is room. */
export function onCore(core: 0 | 1, command: readonly string[]): readonly string[] {
  return hasTwoCores ? ['taskset', '-c', String(core), ...command] : command;
}

/** Starts a process and waits until it listens. */
export async function start(core: 0 | 1, command: readonly string[], port: number): Promise<ChildProcess> {
  const [file = '', ...args] = onCore(core, command);
  const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  for (let tries = 0; !(await listens(port)); tries++) {
    if (tries > 200 || child.exitCode !== null) throw new Error(`${command[0]} does not listen on ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return child;
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** Processor time that a process has used, in seconds. The kernel counts in hundredths (USER_HZ, proc(5)). */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

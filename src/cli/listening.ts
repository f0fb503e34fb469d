import { InterlockError } from '../access/index.ts';

/** Where the system lets a program not listen, as every command that serves may meet it; undefined for other errors. */
export function cannotListen(cause: unknown): InterlockError | undefined {
  if (!(cause instanceof Error) || !('syscall' in cause) || cause.syscall !== 'listen') return undefined;
  // Fields that Node sets beside "syscall"; a Unix socket has the port -1.
  const { code, address, port = -1 } = cause as NodeJS.ErrnoException & { address?: string; port?: number };
  const isPath = port === -1;
  const at = isPath ? String(address) : `${address}:${port}`;
  const why: Record<string, string> = {
    EADDRINUSE: 'another program listens there: stop it, or listen elsewhere',
    EACCES: isPath
      ? 'permission denied: this user may not write in that directory'
      : 'permission denied: below 1024 only root may, or who has CAP_NET_BIND_SERVICE',
    EADDRNOTAVAIL: 'this machine does not have that address',
    ENOENT: 'there is no such directory',
  };
  return new InterlockError('io', at, `cannot listen on ${at}: ${why[code ?? ''] ?? code}`, { cause });
}

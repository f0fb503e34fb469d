import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type ListenOptions } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cannotListen } from './listening.ts';

const dir = mkdtempSync(join(tmpdir(), 'interlock-listen-'));

/** The system's error, where a server is told to listen at a place that it cannot have. */
function refusal(at: ListenOptions): Promise<Error> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', resolve);
    server.listen(at, () => server.close(() => reject(new Error('it listens'))));
  });
}

test('a port that is taken, an address of others and a directory that is not there are no faults of the program', async () => {
  const first = createServer();
  await new Promise<void>((resolve) => void first.listen({ host: '127.0.0.1', port: 0 }, resolve));
  // A server that listens on a port has an address with one.
  const { port } = first.address() as AddressInfo;
  const path = join(dir, 'none', 'a.sock');
  const taken = cannotListen(await refusal({ host: '127.0.0.1', port }));
  expect(taken?.code).toBe('io');
  expect(taken?.message).toBe(
    `cannot listen on 127.0.0.1:${port}: another program listens there: stop it, or listen elsewhere`,
  );
  const elsewhere = cannotListen(await refusal({ host: '192.0.2.1', port }));
  expect(elsewhere?.message).toBe(
    `cannot listen on 192.0.2.1:${port}: this machine does not have that address`,
  );
  // As root the system lets a server make its socket anywhere: what is not there refuses everybody.
  expect(cannotListen(await refusal({ path }))?.message).toContain(`cannot listen on ${path}: `);
  await new Promise((resolve) => first.close(resolve));
  rmSync(dir, { recursive: true });
});

test('other errors stay what they are', () => {
  const write = Object.assign(new Error('no'), { code: 'EACCES', syscall: 'write' });
  for (const error of [new Error('listen'), write, 'listen', undefined])
    expect(cannotListen(error)).toBe(undefined);
});

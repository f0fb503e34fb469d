import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { bearerToken } from './token.ts';

const dir = mkdtempSync(join(tmpdir(), 'interlock-token-'));
const file = join(dir, 'token');
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(file, { force: true });
});
const server = new URL('https://interlock.example.com');

test('a token in a file is read for each call, so that who renews it renews it for whoever goes on', async () => {
  vi.stubEnv('INTERLOCK_TOKEN', '');
  vi.stubEnv('INTERLOCK_TOKEN_FILE', file);
  for (const token of ['one', 'two']) {
    writeFileSync(file, `${token}\n`);
    expect(await bearerToken(server)).toBe(token);
  }
  vi.stubEnv('INTERLOCK_TOKEN', 'three');
  expect(await bearerToken(server)).toBe('three');
});

test.each([
  ['that is not there', undefined, 'not_found'],
  ['without one', '\n', 'usage'],
  ['with lines of something else', 'secret\r\nx-admin: yes\n', 'usage'],
])('a file %s is no token, and no error quotes it', async (_, content, code) => {
  vi.stubEnv('INTERLOCK_TOKEN', '');
  vi.stubEnv('INTERLOCK_TOKEN_FILE', file);
  if (content !== undefined) writeFileSync(file, content);
  const error: unknown = await bearerToken(server).catch((error: unknown) => error);
  expect(error).toMatchObject({ code });
  expect(String(error)).not.toContain('secret');
});

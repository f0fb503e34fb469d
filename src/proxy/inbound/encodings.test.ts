import { afterAll, describe, expect, it } from 'vitest';
import { recordedPath } from '../../access/index.ts';
import { compile, decide } from '../../policy/index.ts';
import {
  closeAll,
  DB,
  dial,
  enforcement,
  httpApp,
  inbound,
  policy,
  readUntil,
  WEB,
} from '../proxy.test-helper.ts';

afterAll(closeAll);

/** Every byte in a path, plain and escaped in both cases, and in the places where it would matter. */
const PATHS = Array.from({ length: 256 }, (_, byte) => byte).flatMap((byte) => {
  const hex = byte.toString(16).padStart(2, '0');
  const escapes = [`%${hex}`, `%${hex.toUpperCase()}`, `%25${hex}`];
  const plain = byte > 0x20 && byte < 0x7f && byte !== 0x23 ? [String.fromCharCode(byte)] : [];
  return [...escapes, ...plain].flatMap((text) => [
    `/public/${text}`,
    `/public/${text}/../secret`,
    `/public${text}secret`,
  ]);
});

describe('a path in any encoding', () => {
  it(`is judged as decide judges it, and the program gets the path that was judged (${PATHS.length} paths)`, async () => {
    const policies = [
      policy([{ name: 'public', from: [{ workload: WEB }], to: [{ http: { paths: ['/public/{name}'] } }] }]),
    ];
    const set = compile(policies);
    const app = await httpApp('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    const { port } = await inbound(app.address, { enforcements: [enforcement(policies)] });
    const socket = await dial(port);
    for (const path of PATHS) {
      app.requests.length = 0;
      socket.write(`GET ${path} HTTP/1.1\r\nHost: db\r\n\r\n`);
      const answer = await readUntil(socket, /(ok|denied\n)$/);
      const judge = (text: string) =>
        decide(set, {
          from: { kind: 'workload', id: WEB },
          to: DB,
          action: { kind: 'http', port: 5432, method: 'GET', path: recordedPath(text) },
        });
      expect([path, answer.startsWith('HTTP/1.1 200')]).toEqual([path, judge(path).allowed]);
      const forwarded = /^GET (\S+) /.exec(app.requests[0] ?? '')?.[1];
      if (forwarded !== undefined) {
        // Whatever a program makes of it, nothing of it is left to be made of.
        expect([path, judge(forwarded).allowed, decodeSteps(forwarded)]).toEqual([path, true, true]);
      }
    }
  });
});

/** No dot segment and no second slash can come out of it by decoding once. */
function decodeSteps(path: string): boolean {
  const [before = ''] = path.split('?');
  return !/\/\.{1,2}(\/|;|$)|\/\/|\\|%2f|%5c/i.test(before.replaceAll(/%2e/gi, '.'));
}

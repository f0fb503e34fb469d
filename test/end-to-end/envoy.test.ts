import { describe, expect, test } from 'vitest';
import { interlock, json } from './run.ts';

const WORKLOAD = ['--workload', 'spiffe://example.org/app', '--instance', 'app-0'];
const bootstrap = (...args: string[]) => interlock('envoy', 'bootstrap', ...WORKLOAD, ...args);

describe('envoy bootstrap', () => {
  test('for a relay asks on its socket, and for the control plane on its port', async () => {
    const of = async (...args: string[]) => {
      const [printed] = await json<object>('envoy', 'bootstrap', ...WORKLOAD, ...args);
      return JSON.stringify(printed);
    };
    const relay = await of('--relay', '/run/app/envoy.sock');
    expect(relay).toContain('"pipe":{"path":"/run/app/envoy.sock"}');
    expect(relay).not.toContain('interlock/server');
    expect(await of('--server', 'interlock.example:8443')).toContain('spiffe://example.org/interlock/server');
  });

  test.each([
    ['neither', [], 'name the control plane with --server, or a relay with --relay'],
    ['both', ['--relay', '/r', '--server', 'a:1'], '--server says nothing to a relay'],
    ['a cluster for a relay', ['--relay', '/r', '--cluster', 'c'], '--cluster says nothing to a relay'],
    ['a relative path', ['--relay', 'envoy.sock'], 'the path of a socket is'],
  ])('refuses %s', async (_, args, message) => {
    expect(await bootstrap(...args)).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringContaining(message),
    });
  });
});

describe('envoy relay', () => {
  const relay = (...args: string[]) =>
    interlock('envoy', 'relay', '--workload', 'spiffe://example.org/app', ...args);

  test.each([
    ['no document', [], "'--document <file>' not specified"],
    ['a group that is not there', ['--document', 'x', '--group', 'no-such-group-here'], 'there is no group'],
  ])('refuses %s', async (_, args, message) => {
    expect(await relay(...args)).toMatchObject({ code: 2, out: '', err: expect.stringContaining(message) });
  });
});

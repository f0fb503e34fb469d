import { describe, expect, it } from 'vitest';
import { endpointOf, parseEndpoint } from './endpoint.ts';

describe('the address of a Workload API', () => {
  it.each([
    ['unix:///run/interlock/agent.sock', 'unix:/run/interlock/agent.sock'],
    ['unix:/run/agent.sock', 'unix:/run/agent.sock'],
    ['unix:///run/with%20space.sock', 'unix:/run/with space.sock'],
    ['tcp://127.0.0.1:8081', 'ipv4:127.0.0.1:8081'],
    ['tcp://[::1]:8081', 'ipv6:[::1]:8081'],
  ])('%s is dialled as %s', (text, target) => {
    expect(parseEndpoint(text).target).toBe(target);
  });

  it.each([
    ['/run/agent.sock', 'neither'],
    ['http://127.0.0.1:8081', 'neither'],
    ['unix:agent.sock', 'absolute'],
    ['unix://host/agent.sock', 'absolute'],
    ['unix://', 'missing'],
    ['unix:///run/agent.sock?x=1', 'no query'],
    ['unix:///run/agent.sock#x', 'no query'],
    ['unix:///run/%zz', 'encodes nothing'],
    ['unix:///run/%00', 'control'],
    [`unix:///${'a'.repeat(107)}`, '107'],
    ['tcp://localhost:8081', 'not a name'],
    ['tcp://127.0.0.1', 'IP address and a port'],
    ['tcp://127.0.0.1:0', '1 to 65535'],
    ['tcp://127.0.0.1:65536', '1 to 65535'],
    ['tcp://127.0.0.1:8081/path', 'nothing else'],
    ['tcp://127.0.0.1:8081?x', 'nothing else'],
    ['tcp://user@127.0.0.1:8081', 'nothing else'],
    ['tcp://[localhost]:1', 'IPv6'],
    ['tcp:127.0.0.1:8081', 'nothing else'],
    ['', 'neither'],
  ])('%j is refused with a reason', (text, why) => {
    expect(() => parseEndpoint(text)).toThrow(expect.objectContaining({ code: 'usage' }) as Error);
    expect(() => parseEndpoint(text)).toThrow(why);
  });

  it('is taken from the environment where none is given', () => {
    const env = { SPIFFE_ENDPOINT_SOCKET: 'unix:///a' };
    expect(endpointOf(undefined, env).target).toBe('unix:/a');
    expect(endpointOf('unix:///b', env).target).toBe('unix:/b');
    expect(() => endpointOf(undefined, {})).toThrow('SPIFFE_ENDPOINT_SOCKET');
    expect(() => endpointOf(undefined, { SPIFFE_ENDPOINT_SOCKET: '' })).toThrow('SPIFFE_ENDPOINT_SOCKET');
  });
});

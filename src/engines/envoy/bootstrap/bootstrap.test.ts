import { describe, expect, test } from 'vitest';
import type { SpiffeId } from '../../../access/index.ts';
import { type BootstrapOptions, envoyBootstrap } from './bootstrap.ts';
import { nodeId, parseNodeId } from './node-id.ts';

const APP = 'spiffe://example.org/ns/shop/sa/app' as SpiffeId;
const OPTIONS: BootstrapOptions = {
  workload: APP,
  instance: 'app-0',
  agentSocket: '/run/interlock/agent.sock',
  controlPlane: { host: 'control.example', port: 8443 },
  serverId: 'spiffe://example.org/interlock/server' as SpiffeId,
};

describe("Envoy's bootstrap", () => {
  test('names the workload and the proxy, and has no administration unless it is asked for', () => {
    const bootstrap = envoyBootstrap(OPTIONS);
    expect(bootstrap).toMatchObject({ node: { id: `${APP}#app-0`, cluster: 'default' } });
    expect(bootstrap).not.toHaveProperty('admin');
    const { admin } = envoyBootstrap({ ...OPTIONS, adminPort: 9901 });
    expect(admin).toEqual({ address: { socket_address: { address: '127.0.0.1', port_value: 9901 } } });
  });

  test('trusts nobody but the control plane with its configuration', () => {
    const text = JSON.stringify(envoyBootstrap(OPTIONS));
    expect(text).toContain(
      `"match_typed_subject_alt_names":[{"san_type":"URI","matcher":{"exact":"${OPTIONS.serverId}"}}]`,
    );
    expect(text).toContain('"tls_minimum_protocol_version":"TLSv1_2"');
  });

  test.each([
    ['delta', 'DELTA_GRPC'],
    ['whole', 'GRPC'],
  ] as const)('asks as it is told: %s', (protocol, type) => {
    const { dynamic_resources: dynamic } = envoyBootstrap({ ...OPTIONS, protocol });
    expect(dynamic).toMatchObject({ ads_config: { api_type: type } });
  });

  test.each([
    ['control.example', 'STRICT_DNS'],
    ['10.0.0.1', 'STATIC'],
    ['::1', 'STATIC'],
  ])('finds the control plane at %s', (host, type) => {
    const { static_resources: resources } = envoyBootstrap({ ...OPTIONS, controlPlane: { host, port: 1 } });
    expect(resources).toMatchObject({ clusters: [{ name: 'interlock_agent' }, { type }] });
  });
});

describe("Envoy's bootstrap for a relay", () => {
  const { controlPlane: _, serverId: __, ...rest } = OPTIONS;

  test('asks on its socket in plain text, and proves nothing there', () => {
    const bootstrap = envoyBootstrap({ ...rest, relaySocket: '/var/lib/interlock/app/envoy.sock' });
    const { static_resources: resources } = bootstrap;
    expect(resources).toMatchObject({
      clusters: [
        { name: 'interlock_agent' },
        {
          name: 'interlock_control_plane',
          type: 'STATIC',
          load_assignment: {
            endpoints: [
              {
                lb_endpoints: [
                  { endpoint: { address: { pipe: { path: '/var/lib/interlock/app/envoy.sock' } } } },
                ],
              },
            ],
          },
        },
      ],
    });
    expect(JSON.stringify(bootstrap)).not.toContain('transport_sockets.tls');
  });
});

describe("a proxy's name", () => {
  test('is read as it was written', () => {
    const node = { workload: APP, instance: 'app-0.shop_1' };
    expect(parseNodeId(nodeId(node))).toEqual(node);
  });

  test.each(['', 'a b', 'a#b', 'x'.repeat(129)])('has no instance %j', (instance) => {
    expect(() => nodeId({ workload: APP, instance })).toThrow('is no instance');
  });

  test.each(['', '#', APP, `${APP}#`, `${APP}#a#b`, 'spiffe://#a', 'x#a', `#${APP}`])('is not %j', (text) => {
    expect(parseNodeId(text)).toBeUndefined();
  });
});

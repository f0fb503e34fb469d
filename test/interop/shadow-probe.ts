import type { TestAuthority } from './certificates.ts';
import type { ListenerSpec } from './envoy-config.ts';
import { renderRules } from './rendered.ts';
import { requestBytes, sendRaw, type Target } from './raw-client.ts';

const ADDRESS = '127.78.2.1';
const [HTTP, TCP] = [20_200, 20_201];
const CLIENT = 'spiffe://interop.test/client';
const OPAQUE = 'opaque\r\n\r\n';

/** Counters of Envoy after the probe, by name, of those that a shadow rendering writes. */
export type ShadowCounters = ReadonlyMap<string, number>;

/** Listeners with the shadow rendering of a policy that allows the client one path and denies it another. */
export function shadowListeners(): ListenerSpec[] {
  const from = [{ workload: CLIENT }];
  const read = { name: 'read', from, to: [{ http: { paths: ['/a'] }, ports: [HTTP] }] };
  const no = {
    name: 'no',
    from,
    to: [
      { http: { paths: ['/no'] }, ports: [HTTP] },
      { tcp: {}, ports: [TCP] },
    ],
  };
  const { manager, http, tcp } = renderRules({ rules: [read], deny: [no] }, true);
  return [
    { address: ADDRESS, port: HTTP, http: { manager, filters: http } },
    { address: ADDRESS, port: TCP, tcp: { filters: tcp } },
  ];
}

/** Sends what would be allowed and denied; throws where anything is denied, which no shadow may do. */
export async function probeShadow(authority: TestAuthority, admin: string): Promise<ShadowCounters> {
  const target = (port: number): Target => ({
    host: ADDRESS,
    port,
    localAddress: '127.1.2.3',
    identity: authority.leaf(CLIENT),
  });
  for (const path of ['/a', '/b', '/no']) {
    const { status } = await sendRaw(target(HTTP), requestBytes('GET', path, 'h'), true);
    if (status !== 200) throw new Error(`a shadow answered ${path} with ${String(status)}`);
  }
  const { bytes } = await sendRaw(target(TCP), OPAQUE, false);
  if (bytes !== OPAQUE) throw new Error('a shadow closed a connection');
  const stats = await (await fetch(`${admin}/stats?filter=interlock_.*shadow_`)).text();
  const lines = stats.split('\n').flatMap((line): [string, number][] => {
    const [name = '', value] = line.split(': ');
    return Number(value) > 0 ? [[name, Number(value)]] : [];
  });
  return new Map(lines);
}

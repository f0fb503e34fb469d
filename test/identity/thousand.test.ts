import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { PathApi } from '../path-api.ts';
import { createRequest, exportPkcs8, formatBundle, generateKey } from '../../src/identity/index.ts';
import { openControlPlane } from '../../src/server/identity/control-plane.ts';
import { makeJoinToken } from '../../src/server/identity/tokens.ts';
import { applyRules } from '../../src/server/identity/rules.ts';
import { readIdentityRules } from '../../src/identity/index.ts';
import { initialise, realTimers } from '../../src/server/index.ts';
import { DOMAIN, issuedOf, Opened, UID_RULE } from './harness.ts';
import type { ManyAgents } from './many-agents.ts';
import { controlPlane, script } from './processes.ts';

const opened = new Opened();
afterEach(() => opened.close());
const AGENTS = 1000;
const PROCESSES = 2;

/** The state of a control plane that has attested the agents, and who they are. */
async function attested(state: string): Promise<Pick<ManyAgents, 'bundle' | 'agents'>> {
  await initialise(state, DOMAIN, 'uid:0', realTimers);
  const plane = await openControlPlane({ state, timers: realTimers });
  const { authorities, recorder, registry } = plane;
  await authorities.prepare('uid:0');
  await applyRules('uid:0', readIdentityRules(UID_RULE), registry, recorder);
  const agents = await Promise.all(
    Array.from({ length: AGENTS }, async (_, i) => {
      const order = { agent: `node-${i}`, ttlMs: 600_000, attributes: {} };
      const { token } = await makeJoinToken('uid:0', order, authorities, recorder, realTimers);
      const key = generateKey('ec-p256');
      const { spiffeId, chain } = await plane.desk.attest({
        attestor: 'join_token',
        payload: Buffer.from(token),
        csr: createRequest(key),
        address: '',
        challenge: () => Promise.reject(new Error('nobody asks')),
      });
      return {
        spiffeId,
        chain: chain.map((der) => der.toString('base64')),
        key: exportPkcs8(key).toString('base64'),
      };
    }),
  );
  const bundle = formatBundle(registry.ownBundle);
  await plane.close();
  return { bundle, agents };
}

test('1,000 agents come back after the control plane was killed: spread over time, all of them, nothing lost', async () => {
  const state = join(opened.dir(), 'plane');
  const { bundle, agents } = await attested(state);
  const server = await controlPlane(opened, state);
  const { address, port } = server;
  const share = AGENTS / PROCESSES;
  const processes = Array.from({ length: PROCESSES }, (_, i) => {
    const given: ManyAgents = { address, bundle, agents: agents.slice(i * share, (i + 1) * share) };
    return script(opened, 'many-agents', { input: JSON.stringify(given) });
  });
  await Promise.all(processes.map(({ said }) => said.with('connected')));

  await server.kill();
  const again = await controlPlane(opened, state, port);
  const back = await Promise.all(processes.map(({ said }) => said.with('back')));
  // What many-agents.ts prints.
  const results = back as unknown as { waits: number[]; serials: string[] }[];
  const waits = results.flatMap((one) => one.waits).toSorted((a, b) => a - b);
  const serials = results.flatMap((one) => one.serials);
  expect(serials).toHaveLength(AGENTS);

  // Drawn from 0 to 2 s (link.ts): of 1,000 draws none of 20 equal parts has a tenth, and the ends are reached.
  const parts = Map.groupBy(waits, (ms) => Math.floor(ms / 100));
  for (const part of parts.values()) expect(part.length).toBeLessThan(AGENTS / 10);
  expect(waits[0]).toBeLessThan(100);
  expect(waits.at(-1)).toBeGreaterThan(1900);

  const api = new PathApi(state);
  const recorded = new Set((await issuedOf(api, 'workload')).map(({ serial }) => serial));
  expect(serials.filter((serial) => !recorded.has(serial))).toEqual([]);
  expect(new Set(serials).size).toBe(AGENTS);
  expect(await api.get('/v1/status')).toMatchObject({ agents: AGENTS });
  expect(await api.get('/v1/audit/verify')).toEqual({ isWhole: true });
  expect(again.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  expect(await Promise.all(processes.map(({ ended }) => ended))).toEqual([0, 0]);
});

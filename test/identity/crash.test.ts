import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { PathApi } from '../path-api.ts';
import { readIdentityRules } from '../../src/identity/index.ts';
import type { HeldSvid } from '../../src/node/svids/svid.ts';
import { initialise, realTimers } from '../../src/server/index.ts';
import { DOMAIN, issuedOf, Node, Opened, Plane, serialOf, Stream, tokenOf, UID_RULE } from './harness.ts';
import { LightAgent } from './light-agent.ts';
import { controlPlane, interlock } from './processes.ts';
import { Watched } from './watched.ts';

const opened = new Opened();
afterEach(() => opened.close());

/** A new trust domain, served by a process of its own. */
async function servedProcess() {
  const state = join(opened.dir(), 'plane');
  await initialise(state, DOMAIN, 'uid:0', realTimers);
  const server = await controlPlane(opened, state);
  const api = new PathApi(state);
  await api.post('/v1/rules', { rules: readIdentityRules(UID_RULE) });
  return { state, server, api };
}

describe('a control plane that is killed while it issues', () => {
  test('has recorded everything that any agent received, once, and its audit log is whole', async () => {
    const { state, server, api } = await servedProcess();
    const { address, port } = server;
    const agents = await Promise.all(
      ['a', 'b', 'c', 'd'].map(async (name) => {
        const agent = await LightAgent.attest({ address, token: await tokenOf(api, name) });
        opened.later(() => agent.close());
        await agent.start().connected();
        return agent;
      }),
    );

    const received: HeldSvid[] = [];
    const arrivals = new Watched();
    const left = range(200);
    /** Asks for one after the other, until all have arrived or the connection ends. */
    const work = async (agent: LightAgent) => {
      for (let uid = left.pop(); uid !== undefined; uid = left.pop()) {
        try {
          received.push(await agent.sign(uid));
          arrivals.changed();
        } catch (error) {
          left.push(uid);
          throw error;
        }
      }
    };
    const workers = agents.flatMap((agent) => range(8).map(() => agent));
    const issuing = Promise.allSettled(workers.map(work));
    await arrivals.until(() => received.length >= 80, '80 SVIDs');
    await server.kill();
    const broken = (await issuing).filter(({ status }) => status === 'rejected').length;
    const before = received.length;
    expect(broken).toBe(workers.length);
    expect(before + left.length).toBe(200);

    const again = await controlPlane(opened, state, port);
    expect(again.port).toBe(port);
    const second = interlock(opened, 'authority', 'serve', '--state', state, '--listen', '127.0.0.1:0');
    await Promise.all(agents.map((agent) => agent.connected()));
    await Promise.all(workers.map(work));
    expect(received).toHaveLength(200);

    const issued = await issuedOf(api, 'workload');
    const recorded = new Map(issued.map(({ serial, spiffeId }) => [serial, spiffeId]));
    // Serial numbers are the key of this list: each stands in it once.
    expect(recorded.size).toBe(issued.length);
    for (const { serial, spiffeId } of received) expect(recorded.get(serial)).toBe(spiffeId);
    expect(new Set(received.map(({ serial }) => serial)).size).toBe(200);
    // What was recorded and did not arrive is at most what was under way when the process died.
    expect(issued.length - 200).toBeLessThanOrEqual(workers.length);
    expect(await api.get('/v1/audit/verify')).toEqual({ isWhole: true });
    expect(await second.ended).toBe(1);
    await second.log.line('is held by another process');
    console.log(
      `killed after ${before} of 200 SVIDs; ${issued.length - 200} were recorded and never arrived`,
    );
  });
});

describe('an agent that is killed while it serves', () => {
  test('serves the same SVIDs after a restart while the control plane is down', async () => {
    const plane = await Plane.start(opened);
    const dir = opened.dir();
    const args = [
      'agent',
      '--server',
      plane.address,
      '--state',
      dir,
      '--socket',
      join(dir, 'agent.sock'),
    ] as const;
    const agent = interlock(opened, ...args, '--join-token', await plane.token('node-1'));
    await agent.log.line('info connected to the control plane');
    const endpoint = `unix://${join(dir, 'agent.sock')}`;
    const before = await Stream.open(opened, endpoint).svid(() => true, 'an SVID');

    await Promise.all([plane.stop(), agent.kill()]);
    const again = interlock(opened, ...args);
    await again.log.line('the agent serves');
    const after = await Stream.open(opened, endpoint).svid(() => true, 'the SVID from before');
    expect(serialOf(after)).toBe(serialOf(before));
    expect(Buffer.from(after.x509SvidKey)).toEqual(Buffer.from(before.x509SvidKey));
    expect(Buffer.from(after.bundle)).toEqual(Buffer.from(before.bundle));
    await again.log.line('not connected to the control plane');
  });

  test('keeps its workloads’ streams working: they find the new agent at the same socket', async () => {
    const { address, ...plane } = await planeWithToken();
    const node = await Node.online(opened, { address, token: plane.token });
    const stream = Stream.open(opened, node.endpoint);
    const before = await stream.svid(() => true, 'an SVID');
    const seen = stream.messages.length;
    await node.agent.close();
    await Node.online(opened, { address, dir: node.dir });
    await stream.until(() => stream.messages.length > seen, 'an update from the new agent');
    expect(serialOf(stream.latest?.svids[0] ?? before)).toBe(serialOf(before));
  });
});

async function planeWithToken() {
  const plane = await Plane.start(opened);
  return { address: plane.address, token: await plane.token('node-1') };
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

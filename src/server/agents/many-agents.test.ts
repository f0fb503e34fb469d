import { connect } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { type TestConnection, TestAgent, TestPlane, UID_RULE } from '../testing.test-helper.ts';

let plane: TestPlane | undefined;
afterEach(() => plane?.remove());

test('1,000 agents that connect at once all get their states, and a change reaches all of them', async () => {
  const estate = (plane = await TestPlane.make());
  await estate.apply(UID_RULE);
  await estate.serve();
  const agent = await estate.agent('node-1');
  const connections: TestConnection[] = Array.from({ length: 1000 }, () => agent.connect());
  await Promise.all(connections.map((connection) => connection.states()));
  expect(estate.server.service.connected()).toHaveLength(1000);
  await estate.apply(UID_RULE.replace('by-uid', 'second').replace('/uid/', '/user/'));
  const changes = await Promise.all(connections.map((connection) => connection.next('rules')));
  expect(new Set(changes.map(({ version, complete }) => `${version} ${complete}`))).toEqual(
    new Set(['3 false']),
  );
  expect(estate.faults).toEqual([]);
  for (const connection of connections) connection.close();
}, 300_000);

test('no TLS session is resumed: every connection shows its certificate', async () => {
  const estate = (plane = await TestPlane.make());
  await estate.serve();
  const agent = new TestAgent(estate);
  await agent.attest('join_token', await estate.token('n1'));
  const open = (session?: Buffer) =>
    new Promise<{ reused: boolean; session: Buffer | undefined }>((resolve, reject) => {
      let given: Buffer | undefined;
      const socket = connect({
        host: '127.0.0.1',
        port: estate.server.port,
        ALPNProtocols: ['h2'],
        rejectUnauthorized: false,
        ...(session === undefined ? {} : { session }),
      });
      socket.on('session', (one: Buffer) => (given = one));
      socket.on('error', reject);
      // The server's first frame follows whatever it says of sessions.
      socket.once('data', () => {
        resolve({ reused: socket.isSessionReused(), session: given });
        socket.destroy();
      });
    });
  const first = await open();
  const second = await open(first.session);
  expect([first.reused, second.reused]).toEqual([false, false]);
});

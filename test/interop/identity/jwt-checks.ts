import { expectSame, expectThat } from './checks.ts';
import type { TokenSeen } from './client.ts';
import { idOf, type Scene, workload } from './scene.ts';

const AUDIENCE = 'https://orders.test';

/** JWT-SVIDs: fetched by go-spiffe, validated by it and by the agent. */
export async function checkJwt(scene: Scene): Promise<void> {
  const { checks } = scene;
  const [web, db, peer, stranger] = (['web', 'db', 'peer', 'stranger'] as const).map((user) =>
    workload(scene, user),
  );
  if (web === undefined || db === undefined || peer === undefined || stranger === undefined) return;

  await checks.check('fetches a JWT-SVID and validates it itself and through the agent', async () => {
    const [token] = await web.run<TokenSeen[]>('jwt', AUDIENCE);
    expectSame('the ID', token?.id, idOf('web'));
    expectSame('what go-spiffe and the agent find wrong', [token?.local, token?.remote], ['', '']);
    expectThat((token?.seconds ?? 0) > 60, `it is good for ${token?.seconds} s, the rule says 2 min`);
    return `${token?.id}, good for ${token?.seconds} s`;
  });
  await checks.check('a JWT-SVID for another audience is refused by both', async () => {
    const [token] = await web.run<TokenSeen[]>('jwt', AUDIENCE);
    expectThat(token?.localElsewhere !== '', 'go-spiffe took it');
    expectThat(
      token?.remoteElsewhere.includes('InvalidArgument') === true,
      `it said ${token?.remoteElsewhere}`,
    );
    return token?.remoteElsewhere ?? '';
  });
  await checks.check('gives one JWT-SVID for each identity of a process', async () => {
    const tokens = await db.run<TokenSeen[]>('jwt', AUDIENCE);
    const ids = tokens.map(({ id, hint }) => `${id} (${hint})`).toSorted();
    expectSame('the IDs', ids, [`${idOf('db')} (primary)`, `${idOf('db')}/admin (admin)`]);
    return ids.join(', ');
  });
  await checks.check('the agent validates a JWT-SVID of a federated domain, for who federates', async () => {
    const [token] = await peer.run<TokenSeen[]>('jwt', AUDIENCE);
    const seen = await web.run<{ id: string }>('validate', token?.token ?? '', AUDIENCE);
    expectSame('the ID', seen.id, idOf('peer'));
    const refused = await db.fail('validate', token?.token ?? '', AUDIENCE);
    expectSame('the status for who does not', refused.code, 'InvalidArgument');
    return `web: ${seen.id}; db: ${refused.error}`;
  });
  await checks.check('a JWT-SVID that was changed is refused', async () => {
    const [token] = await web.run<TokenSeen[]>('jwt', AUDIENCE);
    const [head = '', body = '', signature = ''] = (token?.token ?? '').split('.');
    const claims: unknown = JSON.parse(Buffer.from(body, 'base64url').toString());
    const forged = JSON.stringify({ ...(claims as object), sub: idOf('db') });
    const text = [head, Buffer.from(forged).toString('base64url'), signature].join('.');
    const refused = await web.fail('validate', text, AUDIENCE);
    expectSame('the status', refused.code, 'InvalidArgument');
    return refused.error;
  });
}

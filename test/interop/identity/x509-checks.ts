import { expectSame, expectThat } from './checks.ts';
import type { ContextSeen, Workload } from './client.ts';
import { idOf, OTHER, OWN, type Scene, workload } from './scene.ts';

/** What go-spiffe fetches once: X.509-SVIDs and bundles, and whom it is refused. */
export async function checkX509(scene: Scene): Promise<void> {
  const { checks, own, other } = scene;
  const [web, db, nobody] = [workload(scene, 'web'), workload(scene, 'db'), workload(scene, 'nobody')];

  await checks.check('fetches an X509-SVID and verifies it with the bundle beside it', async () => {
    const { svids } = await fetched(web);
    expectSame('the identities', namesOf(svids), [idOf('web')]);
    const [svid] = svids;
    expectSame('what go-spiffe finds wrong', svid?.verified, '');
    expectSame('the DNS names', svid?.dnsNames, ['web.interop.test']);
    return `${svid?.id}, ${svid?.chain} certificate, dns ${svid?.dnsNames?.join()}`;
  });
  await checks.check('sees both identities of one process, with their hints', async () => {
    const { svids } = await fetched(db);
    const pairs = svids.map(({ id, hint }) => `${id} (${hint})`).toSorted();
    expectSame('the identities', pairs, [`${idOf('db')} (primary)`, `${idOf('db')}/admin (admin)`]);
    return pairs.join(', ');
  });
  await checks.check('a process of a user without a rule is refused with PermissionDenied', async () => {
    const { code, error } = await nobody.fail('fetch');
    expectSame('the status', code, 'PermissionDenied');
    return error;
  });
  for (const [how, values] of [
    ['without the security header', []],
    ['with the header twice', ['true', 'true']],
    ['with the header "false"', ['false']],
  ] as const) {
    await checks.check(`a call ${how} is refused with InvalidArgument`, async () => {
      const { code } = await web.fail('header', ...values);
      expectSame('the status', code, 'InvalidArgument');
      return code ?? '';
    });
  }
  await checks.check('federated bundles reach the workload whose rule federates, and no other', async () => {
    expectSame('of web', Object.keys((await fetched(web)).bundles).toSorted(), [OWN, OTHER]);
    expectSame('of db', Object.keys((await fetched(db)).bundles), [OWN]);
    const all = await web.run<Record<string, { x509: number; jwt: number }>>('bundles');
    expectSame('X.509 and JWT authorities', all, {
      [OWN]: { x509: 1, jwt: 1 },
      [OTHER]: { x509: 1, jwt: 1 },
    });
    return `web: ${OWN}, ${OTHER}; db: ${OWN}`;
  });
  await checks.check('reads the SPIFFE bundle document', async () => {
    const seen = await web.run<{ bundle: object }>('document', OWN, await own.bundleFile());
    return JSON.stringify(seen.bundle);
  });
  await checks.check('fetches the bundle from the endpoint of the control plane (https_spiffe)', async () => {
    const url = `https://127.0.0.1:${other.endpoints}/bundle`;
    const id = `spiffe://${OTHER}/interlock/server`;
    const seen = await web.run<object>('endpoint', OTHER, await other.bundleFile(), url, id);
    const wrong = await web.fail('endpoint', OTHER, await other.bundleFile(), url, `spiffe://${OTHER}/else`);
    expectThat(wrong.error.includes('unexpected ID'), `with a wrong ID: ${wrong.error}`);
    return JSON.stringify(seen);
  });
}

/** One complete state, as soon as there is one. */
export function fetched(by: Workload): Promise<ContextSeen> {
  return by.run<ContextSeen>('fetch');
}

export function namesOf(svids: readonly { readonly id: string }[]): string[] {
  return svids.map(({ id }) => id);
}

import { expectSame, expectThat } from './checks.ts';
import { type Dialed, portOf, Workload } from './client.ts';
import { idOf, type Scene, type User, workload } from './scene.ts';

/** Mutual TLS between two processes on go-spiffe, each with its own SVID of the agent. */
export async function checkPeers(scene: Scene): Promise<void> {
  const { checks } = scene;
  const db = workload(scene, 'db').start('serve', idOf('web'));
  const anybody = workload(scene, 'web').start('serve', 'any');
  try {
    const forWeb = `127.0.0.1:${await db.line(portOf)}`;
    const forAny = `127.0.0.1:${await anybody.line(portOf)}`;
    const dial = (user: User, address: string, expected: string) =>
      workload(scene, user).run<Dialed>('dial', address, expected);
    const refused = (user: User, address: string, expected: string) =>
      workload(scene, user).fail('dial', address, expected);

    await checks.check('mutual TLS: each end accepts the ID that it expects', async () => {
      const seen = await dial('web', forWeb, idOf('db'));
      expectSame('the greeting', seen.answer, `hello ${idOf('web')}\n`);
      return `${idOf('web')} to ${seen.peer}, ${seen.group}`;
    });
    await checks.check('mutual TLS: a client refuses a server of another ID', async () => {
      const { error } = await refused('web', forWeb, idOf('proxy'));
      expectThat(error.includes('unexpected ID'), error);
      return error;
    });
    await checks.check('mutual TLS: a server refuses a client of another ID', async () => {
      const { error } = await refused('proxy', forWeb, idOf('db'));
      expectThat(error.includes('bad certificate'), error);
      return error;
    });
    await checks.check('mutual TLS across federated domains', async () => {
      const seen = await dial('peer', forAny, idOf('web'));
      expectSame('the greeting', seen.answer, `hello ${idOf('peer')}\n`);
      return `${idOf('peer')} to ${seen.peer}`;
    });
    await checks.check('mutual TLS: who does not federate refuses the other domain', async () => {
      const { error } = await refused('stranger', forAny, idOf('web'));
      expectThat(error.includes('no X.509 bundle'), error);
      return error;
    });
    await checks.check('mutual TLS: a server that does not federate refuses the other domain', async () => {
      const strict = workload(scene, 'db').start('serve', 'any');
      try {
        const address = `127.0.0.1:${await strict.line(portOf)}`;
        const { error } = await refused('peer', address, 'unchecked');
        expectThat(error.includes('bad certificate'), error);
        return error;
      } finally {
        await strict.stop();
      }
    });
  } finally {
    await Promise.all([db.stop(), anybody.stop()]);
  }
}

/** SPIRE's Delegated Identity API, asked with SPIRE's own Go types. */
export async function checkDelegated(scene: Scene): Promise<void> {
  const { checks, own } = scene;
  const admin = `unix://${own.adminSocket}`;
  const delegate = workload(scene, 'delegate');
  const db = workload(scene, 'db').start('watch');
  try {
    await db.line((line) => (line.includes(idOf('db')) ? true : undefined));
    await checks.check('Delegated Identity: the identities of a process, by its PID', async () => {
      const seen = await delegate.run<{
        ids: string[];
        keysFit: boolean;
        tokens: string[];
        x509Trust: string[];
        jwtTrust: string[];
      }>('delegated', admin, String(db.pid));
      const both = [idOf('db'), `${idOf('db')}/admin`];
      expectSame('X.509', seen.ids.toSorted(), both);
      expectSame('JWT', seen.tokens.toSorted(), both);
      expectThat(seen.keysFit, 'a key does not belong to its certificate');
      const domains = [`spiffe://${own.name}`, 'spiffe://other.test'];
      expectSame('X.509 bundles', seen.x509Trust.toSorted(), domains);
      expectSame('JWT bundles', seen.jwtTrust.toSorted(), domains);
      return seen.ids.join(', ');
    });
    await checks.check('Delegated Identity: selectors of the delegate are not believed', async () => {
      const { code, error } = await delegate.fail('delegation', admin);
      expectSame('the status', code, 'InvalidArgument');
      return error;
    });
    await checks.check('Delegated Identity: another program of the same user is refused', async () => {
      const program = new Workload(scene.client, 0, own.socket);
      const { code, error } = await program.fail('delegated', admin, String(db.pid));
      expectSame('the status', code, 'PermissionDenied');
      return error;
    });
    await checks.check('Delegated Identity: another user does not reach the socket', async () => {
      const { error } = await workload(scene, 'web').fail('delegated', admin, String(db.pid));
      expectThat(error.includes('permission denied'), error);
      return 'permission denied';
    });
    await checks.check('Delegated Identity: a process that is gone', async () => {
      const gone = workload(scene, 'db').start('watch');
      await gone.line((line) => (line.includes(idOf('db')) ? true : undefined));
      await gone.stop();
      const { code, error } = await delegate.fail('delegated', admin, String(gone.pid));
      expectThat(code !== undefined && code !== 'OK', error);
      return error;
    });
  } finally {
    await db.stop();
  }
}

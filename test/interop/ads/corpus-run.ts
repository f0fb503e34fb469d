import { join } from 'node:path';
import { envoyBootstrap } from '../../../src/engines/envoy/index.ts';
import { echoBackend, httpBackend } from '../backends.ts';
import { TestAuthority } from '../certificates.ts';
import { startEnvoy } from '../envoy-process.ts';
import { expectThat } from '../identity/checks.ts';
import { freePort } from '../ports.ts';
import { AccessLogs } from './access-logs.ts';
import { Corpus, type Phase, type Result } from './corpus.ts';
import type { Run } from './live-run.ts';
import { id } from './scene.ts';
import { certificateSecret, trustSecret } from './secrets.ts';
import { messagesOf, Xds } from './xds.ts';

const [SETS, REQUESTS] = [60, 40];

/** The corpus in both phases against one Envoy; secrets are those of an authority of its own. Gives Markdown. */
export async function runCorpus({ dir, bin, checks }: Run): Promise<string> {
  const authority = new TestAuthority(dir);
  const corpus = new Corpus(SETS, REQUESTS);
  const [http, echo, logs] = [await httpBackend(), await echoBackend(), new AccessLogs()];
  const [xds, agent] = [new Xds(id('app')), new Xds(id('app'))];
  const socket = join(dir, 'corpus-agent.sock');
  const port = await xds.listen('127.0.0.1:0', undefined, logs);
  await agent.listen(`unix:${socket}`);
  agent.set([
    ...corpus.workloads.map((workload) => certificateSecret(workload, authority.leaf(workload))),
    trustSecret(authority, corpus.trustDomains),
  ]);
  const render = (phase: Phase) => messagesOf(corpus.resources(phase, { http: http.port, tcp: echo.port }));
  const first = xds.set(render('shadow'));
  const admin = await freePort();
  const envoy = await startEnvoy(bin, dir, `http://127.0.0.1:${admin}`, bootstrapOf(socket, port, admin));
  try {
    await xds.status(({ confirmed = 0 }) => confirmed >= first);
    checks.group('Corpus of decisions');
    const results = new Map<Phase, Result>();
    for (const phase of ['shadow', 'enforced'] as const) {
      if (phase === 'enforced') {
        const version = xds.set(render(phase));
        await xds.status(({ confirmed = 0 }) => confirmed >= version);
      }
      await checks.check(WHAT[phase], async () => {
        const result = await corpus.run(phase, authority, logs);
        results.set(phase, result);
        expectThat(
          result.faults.length === 0,
          `${result.faults.length} faults: ${result.faults.slice(0, 3).join(' ')}`,
        );
        return `${result.counts.get('cases') ?? 0} cases`;
      });
    }
    return reportOf(results);
  } finally {
    await envoy.stop();
    for (const end of [xds, agent, http, echo]) await end.close();
  }
}

const WHAT = {
  shadow: "shadow: nothing is denied, and every access log has decide's verdict of the target set",
  enforced: "enforced: Envoy answers as decide, and every access log has both sets' verdicts",
} as const;

/** The bootstrap, with a control plane in plain text on loopback: whom it trusts is shown elsewhere. */
function bootstrapOf(socket: string, port: number, admin: number): object {
  const bootstrap = envoyBootstrap({
    workload: id('app'),
    instance: 'corpus',
    agentSocket: socket,
    controlPlane: { host: '127.0.0.1', port },
    serverId: id('control'),
    adminPort: admin,
  });
  return JSON.parse(JSON.stringify(bootstrap), (_key, value: unknown) => {
    const isServer =
      typeof value === 'object' &&
      value !== null &&
      'name' in value &&
      value.name === 'interlock_control_plane';
    return isServer ? { ...value, transport_socket: undefined } : value;
  }) as object;
}

function reportOf(results: ReadonlyMap<Phase, Result>): string {
  const count = (phase: Phase, what: string) => String(results.get(phase)?.counts.get(what) ?? 0);
  const row = (text: string, phase: Phase, what: string) => `| ${text} | ${count(phase, what)} |`;
  return `The corpus and random policies: each workload at an address of its own, each port behind a listener on another port,
callers with mutual TLS or in plain text on the same port (\`permissive\`).

| | |
|---|---|
${[
  row('cases in each phase', 'shadow', 'cases'),
  row('shadow: served', 'shadow', 'served'),
  row(
    'shadow: answered 400 by the codec or the connection manager, before any filter',
    'shadow',
    'refused by the codec or the manager',
  ),
  row(
    'shadow: the access log has the verdict of `decide`, and no enforced one',
    'shadow',
    'target verdict in the access log',
  ),
  row('enforced: Envoy answers as `decide`', 'enforced', 'equal'),
  row('enforced: Envoy denies what `decide` allows, and the rendering said so', 'enforced', 'explained'),
  row('enforced: anything else', 'enforced', 'unexplained'),
  row('enforced: Envoy allows what `decide` denies', 'enforced', 'wider'),
  row(
    'enforced: the access log has the verdict of the target set',
    'enforced',
    'target verdict in the access log',
  ),
  row(
    'enforced: the access log has the verdict of the enforced set',
    'enforced',
    'enforced verdict in the access log',
  ),
].join('\n')}`;
}

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child, runToEnd, until } from './children.ts';
import { expectSame, expectThat } from './checks.ts';
import { directoryOf, idOf, OWN, type Scene, USERS } from './scene.ts';

const AUDIENCE = 'https://orders.test';
const SDS = 'envoy.service.secret.v3.SecretDiscoveryService';
const HEALTH_PROTO = fileURLToPath(new URL('../../../src/proto', import.meta.url));

/** SPIRE's own command line: `spire-agent healthcheck` and `spire-agent api ...`. */
export async function checkSpireAgent({ checks, own }: Scene, bin: string): Promise<void> {
  const spire = async (user: keyof typeof USERS, ...args: readonly string[]) => {
    const ended = await runToEnd({
      command: bin,
      args: [...args, '-socketPath', own.socket],
      uid: USERS[user],
    });
    return { ...ended, text: `${ended.out}${ended.err}`.trim() };
  };
  await checks.check('healthcheck', async () => {
    const { code, text } = await spire('nobody', 'healthcheck');
    expectSame('the exit code', code, 0);
    return text;
  });
  await checks.check('api fetch x509 -write; openssl verifies what it wrote', async () => {
    const dir = directoryOf(own, 'spire-web', 'web');
    const { code, text } = await spire('web', 'api', 'fetch', 'x509', '-write', dir);
    expectSame('the exit code', code, 0);
    expectThat(text.includes(idOf('web')), text);
    expectThat(text.includes('federated bundle #0'), `no federated bundle: ${text}`);
    return opensslVerify(join(dir, 'bundle.0.pem'), join(dir, 'svid.0.pem'));
  });
  await checks.check('api fetch x509 for a user without a rule', async () => {
    const { code, text } = await spire('nobody', 'api', 'fetch', 'x509');
    expectSame('the exit code', code, 1);
    expectThat(text.includes('PermissionDenied'), text);
    return text;
  });
  await checks.check('api fetch jwt, api validate jwt', async () => {
    const fetched = await spire('web', 'api', 'fetch', 'jwt', '-audience', AUDIENCE, '-output', 'json');
    expectThat(fetched.code === 0, fetched.text);
    const token = /"svid":\s*"([^"]+)"/.exec(fetched.out)?.[1] ?? '';
    const good = await spire('web', 'api', 'validate', 'jwt', '-audience', AUDIENCE, '-svid', token);
    expectThat(good.text.includes('SVID is valid.'), good.text);
    expectThat(good.text.includes(idOf('web')), good.text);
    const bad = await spire(
      'web',
      'api',
      'validate',
      'jwt',
      '-audience',
      'https://else.test',
      '-svid',
      token,
    );
    expectThat(bad.code === 1 && bad.text.includes('SVID is not valid'), bad.text);
    return `valid; for another audience: ${bad.text}`;
  });
  await checks.check('api fetch jwt -spiffeID of somebody else', async () => {
    const { code, text } = await spire(
      'web',
      'api',
      'fetch',
      'jwt',
      '-audience',
      AUDIENCE,
      '-spiffeID',
      idOf('db'),
    );
    expectSame('the exit code', code, 1);
    expectThat(text.includes('PermissionDenied'), text);
    return text;
  });
  await checks.check('api watch', async () => {
    const args = ['api', 'watch', '-socketPath', own.socket];
    const watch = new Child({ command: bin, args, uid: USERS.web });
    try {
      return await watch.line((line) => (line.includes(idOf('web')) ? line.trim() : undefined));
    } finally {
      await watch.stop();
    }
  });
}

/** grpcurl, which knows nothing but what reflection tells it. */
export async function checkGrpcurl({ checks, own }: Scene, bin: string): Promise<void> {
  const grpcurl = async (...args: readonly string[]) => {
    const ended = await runToEnd({
      command: bin,
      args: ['-plaintext', '-max-time', '5', ...args],
      uid: USERS.web,
    });
    return { ...ended, text: `${ended.out}${ended.err}`.trim() };
  };
  const target = `unix://${own.socket}`;
  await checks.check('lists and describes the services through reflection', async () => {
    const { text } = await grpcurl(target, 'list');
    for (const service of ['SpiffeWorkloadAPI', SDS]) {
      expectThat(text.split('\n').includes(service), `no ${service}: ${text}`);
      const described = await grpcurl(target, 'describe', service);
      expectThat(described.text.includes('is a service'), described.text);
    }
    return text;
  });
  await checks.check('a call by reflection without the security header', async () => {
    const { text } = await grpcurl(target, 'SpiffeWorkloadAPI/FetchX509SVID');
    expectThat(text.includes('Code: InvalidArgument'), text);
    return text;
  });
  await checks.check('a call by reflection with the header', async () => {
    const header = ['-H', 'workload.spiffe.io: true', '-d', JSON.stringify({ audience: [AUDIENCE] })];
    const { text } = await grpcurl(...header, target, 'SpiffeWorkloadAPI/FetchJWTSVID');
    expectThat(text.includes(`"spiffeId": "${idOf('web')}"`), text);
    return idOf('web');
  });
  await checks.check("SDS by reflection: what a name holds, and somebody else's name", async () => {
    const ask = (name: string) =>
      grpcurl('-d', JSON.stringify({ resourceNames: [name] }), target, `${SDS}/FetchSecrets`);
    const good = await ask('ROOTCA');
    expectThat(good.text.includes('"customValidatorConfig"'), good.text);
    const bad = await ask(idOf('db'));
    expectThat(bad.text.includes('Code: InvalidArgument'), bad.text);
    return `ROOTCA: a validator config; ${idOf('db')}: ${bad.text}`;
  });
  await checks.check('health, by its own .proto file', async () => {
    const proto = ['-import-path', HEALTH_PROTO, '-proto', 'health.proto'];
    const { text } = await grpcurl(...proto, target, 'grpc.health.v1.Health/Check');
    expectThat(text.includes('"status": "SERVING"'), text);
    return 'SERVING';
  });
  await checks.check('health, through reflection', async () => {
    const { text } = await grpcurl(target, 'grpc.health.v1.Health/Check');
    expectThat(text.includes('"status": "SERVING"'), text);
    return 'SERVING';
  });
}

/** spiffe-helper, as the sidecar that writes files: once, and as a daemon while the authority is tainted. */
export async function checkSpiffeHelper({ checks, own }: Scene, bin: string): Promise<void> {
  const dir = directoryOf(own, 'helper-web', 'web');
  const config = join(dir, 'helper.conf');
  writeFileSync(
    config,
    [
      `agent_address = "${own.socket}"`,
      `cert_dir = "${dir}"`,
      'svid_file_name = "svid.pem"',
      'svid_key_file_name = "key.pem"',
      'svid_bundle_file_name = "bundle.pem"',
      'hint = "internal"',
      'include_federated_domains = true',
      'jwt_bundle_file_name = "bundle.json"',
      `jwt_svids = [{ jwt_audience = "${AUDIENCE}", jwt_svid_file_name = "token" }]`,
    ].join('\n'),
  );
  const start = { command: bin, args: ['-config', config], uid: USERS.web };
  const file = (name: string) => readFileSync(join(dir, name), 'utf8');
  await checks.check('writes certificate, key, bundle and JWT; openssl verifies them', async () => {
    const { code, err } = await runToEnd({ ...start, args: [...start.args, '-daemon-mode=false'] });
    expectThat(code === 0, err.trim().split('\n').slice(-2).join(' / '));
    expectSame('parts of the token', file('token').trim().split('.').length, 3);
    expectThat(
      jwksOf(file('bundle.json')).includes('"keys"'),
      `no JWKS: ${file('bundle.json').slice(0, 200)}`,
    );
    const roots = file('bundle.pem').split('BEGIN CERTIFICATE').length - 1;
    expectSame('roots with the federated domain', roots, 2);
    return opensslVerify(join(dir, 'bundle.pem'), join(dir, 'svid.pem'));
  });
  await checks.check(
    'as a daemon it writes the renewed certificate when the authority is tainted',
    async () => {
      const daemon = new Child(start);
      try {
        await daemon.line((line) => (line.includes('X.509 certificates updated') ? true : undefined));
        const [before, old] = [file('svid.pem'), await own.active()];
        await own.interlock('authority', 'rotate');
        await until(async () => ((await own.active()) === old ? undefined : true));
        await own.interlock('authority', 'taint', old, '--over', '1s');
        await until(async () => (file('svid.pem') === before ? undefined : true));
        return opensslVerify(join(dir, 'bundle.pem'), join(dir, 'svid.pem'));
      } finally {
        await daemon.stop();
      }
    },
  );
}

/** The JWKS of the own domain in spiffe-helper's file: base64 under the domain's name. */
function jwksOf(text: string): string {
  const document: unknown = JSON.parse(text);
  const value: unknown = typeof document === 'object' && document !== null ? Reflect.get(document, OWN) : '';
  return Buffer.from(String(value), 'base64').toString();
}

async function opensslVerify(roots: string, chain: string): Promise<string> {
  const args = [
    'verify',
    '-x509_strict',
    '-purpose',
    'sslserver',
    '-CAfile',
    roots,
    '-untrusted',
    chain,
    chain,
  ];
  const { code, out, err } = await runToEnd({ command: 'openssl', args });
  expectThat(code === 0, `openssl: ${err.trim()}`);
  const shown = await runToEnd({
    command: 'openssl',
    args: ['x509', '-in', chain, '-noout', '-ext', 'subjectAltName'],
  });
  const uri = /URI:[^\s,]+/.exec(shown.out)?.[0] ?? 'no URI';
  return `openssl verify: ${out.trim().endsWith(': OK') ? 'OK' : out.trim()}, ${uri}`;
}

import { describe, expect, it } from 'vitest';
import { helperConfig, readHelperFile } from './config.ts';
import { ownerOf } from './owner.ts';
import { wordsOf } from './spiffe-helper.ts';

const usage = (why: string) =>
  expect.objectContaining({ code: 'usage', message: expect.stringContaining(why) as string }) as Error;

describe('the configuration of a helper', () => {
  it('needs a directory and has defaults for all else', () => {
    expect(helperConfig({ dir: '/run/x' })).toMatchObject({
      certificate: 'svid.pem',
      key: 'svid_key.pem',
      bundle: 'bundle.pem',
      keyMode: 0o600,
      certificateMode: 0o644,
      commandTimeout: 30,
    });
    expect(() => helperConfig({})).toThrow(usage('helper: dir: say where the files go, with --dir DIR'));
  });

  it('takes the later of two layers, and an undefined one never', () => {
    const config = helperConfig({ dir: '/a', hint: 'x' }, { dir: '/b', hint: undefined });
    expect(config).toMatchObject({ dir: '/b', hint: 'x' });
  });

  it.each([
    [{ keyMode: '0644' }, 'must not let everyone read'],
    [{ jwtMode: '0604' }, 'must not let everyone read'],
    [{ certificateMode: '0666' }, 'must not let everyone write'],
    [{ keyMode: 600 }, 'in quotes'],
    [{ keyMode: '9999' }, '"0640"'],
    [{ certificate: '../svid.pem' }, 'plain file name'],
    [{ signal: 'SIGNOTHING', pid: 2 }, 'no signal'],
    [{ signal: '__proto__', pid: 2 }, 'no signal'],
    [{ signal: 'SIGHUP' }, 'exactly one of'],
    [{ signal: 'SIGHUP', pid: 5, pidFile: '/x' }, 'exactly one of'],
    [{ pidFile: '/x' }, 'needs a signal'],
    [{ pid: 1, signal: 'SIGHUP' }, 'pid'],
    [{ jwt: [{ audience: [], file: 'x' }] }, 'jwt.0'],
    [{ jwt: [{ audience: 'a', file: 'x', subject: 'nobody' }] }, 'jwt.0.subject'],
    [{ unknown: true }, 'unknown'],
    [JSON.parse('{"__proto__": {"hint": "x"}}') as object, 'nrecognized key'],
    [{ healthPort: 70_000 }, 'healthPort'],
  ])('refuses %j with a reason', (options, why) => {
    expect(() => helperConfig({ dir: '/a', ...options })).toThrow(usage(why));
  });

  it("understands spiffe-helper's names", () => {
    const file = `
agent_address: /run/spire/api.sock
cert_dir: certs
cmd: ghostunnel
cmd_args: server --listen "localhost:8002" --keystore 'a b.pem'
renew_signal: SIGUSR1
svid_file_name: cert.pem
svid_key_file_name: key.pem
svid_bundle_file_name: ca.pem
add_intermediates_to_bundle: true
include_federated_domains: true
daemon_mode: false
hint: internal
key_file_mode: "0600"
jwt_bundle_file_name: jwks.json
jwt_svids: [{ jwt_audience: a, jwt_extra_audiences: [b, c], jwt_svid_file_name: a.token }]
health_checks: { listener_enabled: true, bind_port: 9000, liveness_path: /alive }
`;
    expect(helperConfig(readHelperFile(file, 'helper.yaml'))).toMatchObject({
      endpoint: 'unix:///run/spire/api.sock',
      dir: 'certs',
      command: ['ghostunnel', 'server', '--listen', 'localhost:8002', '--keystore', 'a b.pem'],
      signal: 'SIGUSR1',
      certificate: 'cert.pem',
      key: 'key.pem',
      bundle: 'ca.pem',
      intermediatesInBundle: true,
      federated: true,
      once: true,
      hint: 'internal',
      jwt: [{ audience: ['a', 'b', 'c'], file: 'a.token' }],
      jwtBundle: 'jwks.json',
      healthPort: 9000,
      livePath: '/alive',
      readyPath: '/ready',
    });
  });

  it('opens no health port that spiffe-helper would not', () => {
    const config = helperConfig({ cert_dir: 'c', health_checks: { listener_enabled: false, bind_port: 1 } });
    expect(config.healthPort).toBeUndefined();
  });

  it.each([
    ['cert_dir = "certs"\nagent_address = "/x"', 'looks like HCL'],
    ['- a\n- b', 'no list of options'],
    ['{', 'neither YAML nor JSON'],
    [
      'a: &a [x]\nb: [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]',
      'neither YAML',
    ],
  ])('refuses the file %j', (text, why) => {
    expect(() => readHelperFile(text, 'helper.conf')).toThrow(why);
    expect(() => readHelperFile('x'.repeat(300_000), 'f')).toThrow(
      expect.objectContaining({ code: 'limit' }) as Error,
    );
  });

  it('parts words without a shell', () => {
    expect(wordsOf(`a  "b c" 'd $(x)' e;f`)).toEqual(['a', 'b c', 'd $(x)', 'e;f']);
    expect(wordsOf(undefined)).toEqual([]);
  });
});

describe('an owner', () => {
  const files = {
    passwd: () => 'root:x:0:0:root:/root:/bin/sh\nnginx:x:101:102::/:/bin/false\n',
    group: () => 'root:x:0:\nssl-cert:x:108:nginx\n',
  };

  it.each([
    ['nginx', { uid: 101, gid: 102 }],
    ['nginx:ssl-cert', { uid: 101, gid: 108 }],
    ['101', { uid: 101, gid: 102 }],
    ['4000:5000', { uid: 4000, gid: 5000 }],
    [':ssl-cert', { uid: process.getuid?.(), gid: 108 }],
  ])('%s is found', (text, owner) => expect(ownerOf(text, files)).toEqual(owner));

  it.each(['nobody-here', 'nginx:nothing', ':', '', 'a:b:c', '4294967295'])('%j is refused', (text) => {
    expect(() => ownerOf(text, files)).toThrow(/no user|no group|no owner/);
  });
});

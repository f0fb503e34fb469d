import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Where programs of others are kept from one run to the next. Not a directory that others may write to: they are
 * started by root.
 */
export const CACHE = process.env['INTEROP_CACHE'] ?? join(homedir(), '.cache/interlock-interop');

/** A program of others, as the Go module proxy has it. */
export interface GoTool {
  readonly name: string;
  readonly module: string;
  readonly version: string;
  readonly package: string;
}

/** What is asked, by versions that were current at the last run. */
export const GRPCURL: GoTool = {
  name: 'grpcurl',
  module: 'github.com/fullstorydev/grpcurl',
  version: 'v1.9.4',
  package: 'github.com/fullstorydev/grpcurl/cmd/grpcurl',
};
export const SPIFFE_HELPER: GoTool = {
  name: 'spiffe-helper',
  module: 'github.com/spiffe/spiffe-helper',
  version: 'v0.11.0',
  package: 'github.com/spiffe/spiffe-helper/cmd/spiffe-helper',
};
export const SPIRE_AGENT: GoTool = {
  name: 'spire-agent',
  module: 'github.com/spiffe/spire',
  version: 'v1.15.3',
  package: 'github.com/spiffe/spire/cmd/spire-agent',
};
/** The version of go-spiffe that test/interop/go/go.mod pins. */
export const GO_SPIFFE_VERSION =
  /go-spiffe\/v2 (v\S+)/.exec(readFileSync(new URL('../go/go.mod', import.meta.url), 'utf8'))?.[1] ??
  'unknown';

/** Where the program is, or in one sentence why there is none. */
export type Installed = { readonly bin: string } | { readonly missing: string };

/** Builds a program of others once. SPIRE's agent takes ten minutes on one core. */
export function installGoTool({ name, module, version, package: main }: GoTool): Installed {
  const bin = join(binaries(), `${name}-${version}`);
  if (existsSync(bin)) return { bin };
  const source = join(CACHE, 'source', name);
  mkdirSync(source, { recursive: true });
  // A module of its own: "go install PACKAGE@VERSION" would also need the list of all versions.
  writeFileSync(join(source, 'go.mod'), `module tool\n\ngo 1.26\n\nrequire ${module} ${version}\n`);
  return build(source, bin, ['-mod=mod', '-p', '1', '-o', bin, main]);
}

/** Builds the client on go-spiffe that lies beside this, as its go.mod pins it. */
export function installClient(): Installed {
  const source = join(CACHE, 'source', 'client');
  // Copied, so that nothing is written into the checkout.
  cpSync(fileURLToPath(new URL('../go', import.meta.url)), source, { recursive: true });
  const bin = join(binaries(), 'client');
  return build(source, bin, ['-o', bin, '.']);
}

/** The version of Kubernetes that test/interop/go-kubernetes/go.mod pins. */
export const KUBERNETES_VERSION =
  /k8s\.io\/kubernetes (v\S+)/.exec(
    readFileSync(new URL('../go-kubernetes/go.mod', import.meta.url), 'utf8'),
  )?.[1] ?? 'unknown';

/** Builds Kubernetes' API server with an etcd in it, as its go.mod pins them: seven minutes on one core. */
export function installKubernetesApi(): Installed {
  const bin = join(binaries(), `kubernetes-api-${KUBERNETES_VERSION}`);
  if (existsSync(bin)) return { bin };
  const source = join(CACHE, 'source', 'kubernetes-api');
  cpSync(fileURLToPath(new URL('../go-kubernetes', import.meta.url)), source, { recursive: true });
  const version = `-X k8s.io/component-base/version.gitVersion=${KUBERNETES_VERSION}`;
  return build(source, bin, ['-p', '1', '-ldflags', `-s -w ${version}`, '-o', bin, '.']);
}

function build(source: string, bin: string, args: readonly string[]): Installed {
  console.log(`building ${bin}`);
  try {
    // At the lowest priority and on one core: a long build must not take the machine.
    execFileSync('nice', ['-n', '19', 'go', 'build', '-buildvcs=false', ...args], {
      cwd: source,
      env: { ...process.env, GOMAXPROCS: '1', GOFLAGS: '' },
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: 20 * 60_000,
      maxBuffer: 64 << 20,
    });
    return { bin };
  } catch (error) {
    const text = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
    const last = text.trim().split('\n').at(-1) ?? '';
    return { missing: `it could not be built: ${last === '' ? String(error) : last}` };
  }
}

function binaries(): string {
  const dir = join(CACHE, 'bin');
  mkdirSync(dir, { recursive: true });
  return dir;
}

/** Copies a program into a directory of this run, where every user may start it. */
export function putInto(dir: string, bin: string, name = basename(bin)): string {
  const place = join(dir, name);
  copyFileSync(bin, place);
  chmodSync(place, 0o755);
  return place;
}

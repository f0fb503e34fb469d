// Makes src/proto/gen: TypeScript of our own .proto files and of Envoy's that we speak. Envoy's come from the npm
// package @grpc/grpc-js-xds. What only annotates them (validation rules, feature status) is left out: the messages
// on the wire are the same without it, and the files are half as many.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import {
  CodeGeneratorRequestSchema,
  CodeGeneratorResponseSchema,
  type FileDescriptorProto,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt';

const root = fileURLToPath(new URL('..', import.meta.url));
const OURS = join(root, 'src/proto');
const ENVOY = join(root, 'node_modules/@grpc/grpc-js-xds/deps');
/** Envoy's folders of .proto files, and the files of them that we use. They bring what they import. */
const ENVOY_ROOTS = ['envoy-api', 'xds', 'googleapis', 'protoc-gen-validate'];
const ENVOY_FILES = [
  'envoy/service/discovery/v3/ads.proto',
  'envoy/service/accesslog/v3/als.proto',
  'envoy/config/bootstrap/v3/bootstrap.proto',
  'envoy/config/listener/v3/listener.proto',
  'envoy/config/route/v3/route.proto',
  'envoy/config/cluster/v3/cluster.proto',
  'envoy/config/endpoint/v3/endpoint.proto',
  'envoy/extensions/access_loggers/grpc/v3/als.proto',
  'envoy/extensions/filters/http/rbac/v3/rbac.proto',
  'envoy/extensions/filters/http/router/v3/router.proto',
  'envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto',
  'envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.proto',
  'envoy/extensions/filters/listener/original_dst/v3/original_dst.proto',
  'envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto',
  'envoy/extensions/filters/network/rbac/v3/rbac.proto',
  'envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto',
  'envoy/extensions/transport_sockets/tls/v3/tls.proto',
  'envoy/extensions/upstreams/http/v3/http_protocol_options.proto',
  'envoy/service/secret/v3/sds.proto',
  'envoy/extensions/transport_sockets/tls/v3/secret.proto',
  'envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.proto',
];
const ANNOTATIONS =
  /^(udpa\/annotations|xds\/annotations|validate|envoy\/annotations|google\/api(?!\/expr\/))\//;

/** The generated files: path below src/proto/gen -> text. */
export function protoFiles(): Map<string, string> {
  const files = compiled();
  const own = new Set(ownFiles());
  const proto = withImports(files, [...own, ...ENVOY_FILES]).map((file) => bare(file, own));
  const request = create(CodeGeneratorRequestSchema, {
    fileToGenerate: proto.map(({ name }) => name).filter((name) => !name.startsWith('google/protobuf/')),
    parameter: 'target=ts,import_extension=ts',
    protoFile: proto,
  });
  const answer = run('protoc-gen-es', [], toBinary(CodeGeneratorRequestSchema, request));
  const { file, error } = fromBinary(CodeGeneratorResponseSchema, answer);
  if (error !== '') throw new Error(`protoc-gen-es: ${error}`);
  return new Map(file.map(({ name, content }) => [name, erasable(content)]));
}

function ownFiles(): string[] {
  return readdirSync(OURS)
    .filter((name) => name.endsWith('.proto'))
    .toSorted();
}

/** Every file with what it imports, as descriptors. */
function compiled(): FileDescriptorProto[] {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-proto-'));
  try {
    for (const folder of ENVOY_ROOTS) cpSync(join(ENVOY, folder), dir, { recursive: true });
    for (const name of ownFiles()) cpSync(join(OURS, name), join(dir, name));
    // The bundled copy is older than the files that use it; a field more or less is no matter where it is dropped.
    const validate = join(dir, 'validate/validate.proto');
    const text = readFileSync(validate, 'utf8');
    if (!/message StringRules \{[^}]*ignore_empty/.test(text)) {
      writeFileSync(
        validate,
        text.replace('message StringRules {', 'message StringRules {\n  optional bool ignore_empty = 26;'),
      );
    }
    writeFileSync(join(dir, 'buf.yaml'), 'version: v2\n');
    const paths = [...ownFiles(), ...ENVOY_FILES].flatMap((name) => ['--path', name]);
    const set = run('buf', ['build', '.', '--as-file-descriptor-set', '-o', '-', ...paths], undefined, dir);
    return fromBinary(FileDescriptorSetSchema, set).file;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The named files and all they import, imported ones first. */
function withImports(files: readonly FileDescriptorProto[], names: readonly string[]): FileDescriptorProto[] {
  const byName = new Map(files.map((file) => [file.name, file]));
  const found = new Map<string, FileDescriptorProto>();
  const visit = (name: string) => {
    const file = byName.get(name);
    if (file === undefined || found.has(name) || ANNOTATIONS.test(name)) return;
    for (const next of file.dependency) visit(next);
    found.set(name, file);
  };
  for (const name of names) visit(name);
  return [...found.values()];
}

/** The file without options that are not protobuf's own, without the imports that only those need, and others' comments. */
function bare(file: FileDescriptorProto, own: ReadonlySet<string>): FileDescriptorProto {
  const dependency = file.dependency.filter((name) => !ANNOTATIONS.test(name));
  strip(file);
  const rest = { ...file, dependency, publicDependency: [], weakDependency: [] };
  if (own.has(file.name)) return rest;
  // Comments of others stay where they are maintained.
  const { sourceCodeInfo: _, ...silent } = rest;
  return silent;
}

/** Drops unknown fields everywhere: options that others defined are unknown to protobuf itself. */
function strip(value: unknown): void {
  if (Array.isArray(value)) return value.forEach(strip);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return;
  if ('$typeName' in value) delete (value as Message).$unknown;
  Object.values(value).forEach(strip);
}

/** Enums as objects: Node runs TypeScript whose types can be erased, and enums cannot. */
function erasable(text: string): string {
  return text.replace(/export enum (\w+) \{\n([\s\S]*?)\n\}/g, (_, name: string, body: string) => {
    const rows = body.replace(/^( +)(\w+) = (-?\d+),$/gm, '$1$2: $3,');
    return `export const ${name} = {\n${rows}\n} as const;\nexport type ${name} = (typeof ${name})[keyof typeof ${name}];`;
  });
}

function run(program: string, args: string[], input?: Uint8Array, cwd = root): Uint8Array {
  const bin = join(root, 'node_modules/.bin', program);
  const done = spawnSync(bin, args, { input, cwd, maxBuffer: 1 << 28 });
  if (done.status !== 0) throw new Error(`${program}: ${done.stderr?.toString() ?? done.error?.message}`);
  return done.stdout;
}

// `npm run bench [-- NAME...]`: every benchmark, or the named ones, each in a process of its own.
import { spawnSync } from 'node:child_process';
import { availableParallelism, cpus } from 'node:os';
import { fileURLToPath } from 'node:url';

const BENCHMARKS: Readonly<Record<string, string>> = {
  read: 'access-log lines read into evidence, against a bare JSON.parse of the same lines',
  als: "entries of Envoy's access log service into evidence on one core, against decoding them with protobuf-es",
  decide: 'verdicts a second, against cedar-wasm and casbin on the same policy and requests',
  rehearse: 'rehearsal and memory for 100,000 distinct accesses standing for 1,000 million calls',
  templates: 'path templates learned back from expanded routes: precision and recall',
  calibration: 'how often the bound on first-week surprises held in simulated estates',
  'identity-sign': 'X509-SVIDs signed from requests, against the bare signature and @peculiar/x509',
  'identity-handshake':
    'mutual TLS 1.3 handshakes: bytes and rate for two key exchanges and two kinds of key',
  'identity-cold-start': 'an agent that starts with what it kept on disk: its first answer to a workload',
  'identity-memory': 'memory of an agent with 1,000 workloads',
  'identity-propagation': 'from a new rule to the SVID in the stream, 1,000 connected agents',
  proxy:
    'the built-in proxy against HAProxy: requests, bytes, new connections, added latency, the price of rules',
  'proxy-grpc': 'gRPC unary calls through two proxies, against the same client and server without them',
  release:
    'the red button and a change of policy with 1,000 proxies, and the memory of the control plane with 2,000',
  'xds-streams': 'one change to 1,000 connected xDS streams, to the last confirmation',
  store:
    'PostgreSQL against SQLite: commits with audit entries, live batches; a commit heard by another replica',
  replicas:
    'two control planes on one PostgreSQL: a change at one to the proxy and the console of the other one',
  api: 'pages of 10,000 accesses, the graph and the workloads over HTTP, against bytes held ready',
  map: 'the console: first view, frames of 10,000 lines, from a report to the map, against an empty page',
  up: 'memory of interlock up, idle and with 1,000 workloads and 10,000 accesses',
  'identity-taint': '10,000 SVIDs of a tainted authority replaced, nobody without a valid one',
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => BENCHMARKS[name] === undefined);
if (unknown.length > 0) {
  console.error(
    `There is no benchmark "${unknown.join('", "')}". There are: ${Object.keys(BENCHMARKS).join(', ')}`,
  );
  process.exit(2);
}
console.log(
  `Node ${process.versions.node}, ${availableParallelism()} x ${cpus()[0]?.model ?? 'unknown processor'}`,
);
let failed = 0;
for (const [name, what] of Object.entries(BENCHMARKS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.log(`\n== ${name}: ${what}`);
  const file = fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
  if (spawnSync(process.execPath, ['--expose-gc', file], { stdio: 'inherit' }).status !== 0) failed++;
}
process.exit(failed === 0 ? 0 : 1);

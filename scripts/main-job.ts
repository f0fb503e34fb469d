// The main job, step by step, with the commands a person would type: observe, propose, readiness, rehearse, render.
import { rmSync } from 'node:fs';
import { main } from '../src/cli/cli.ts';
import { EXIT } from '../src/cli/exit.ts';
import { Terminal } from '../src/cli/terminal.ts';

const OUT = '.interlock/start';
const EXAMPLE = [
  'examples/shop/manifests.yaml',
  'examples/shop/access.jsonl.gz',
  '--trust-domain',
  'shop.example',
];

const given = process.argv.slice(2);
const terminal = new Terminal();
rmSync(OUT, { recursive: true, force: true });

const state = ['--state', `${OUT}/state`];
const policies = `${OUT}/policies`;
const steps: { say: string; argv: string[] }[] = [
  { say: 'Read the recording.', argv: ['observe', ...(given.length > 0 ? given : EXAMPLE), ...state] },
  { say: 'Propose least-privilege policies from it.', argv: ['propose', '--out', policies, ...state] },
  { say: 'How much is known? What is missing before each tier?', argv: ['readiness', ...state] },
  { say: 'What would break if these policies were enforced?', argv: ['rehearse', policies, ...state] },
  {
    say: "The same policies as Envoy's documents.",
    argv: ['render', policies, '--engine', 'envoy', '--out', `${OUT}/envoy`, ...state],
  },
  {
    say: "And as Istio's.",
    argv: ['render', policies, '--engine', 'istio', '--out', `${OUT}/istio`, ...state],
  },
];

for (const { say, argv } of steps) {
  terminal.line();
  terminal.line(terminal.paint('cyan', `# ${say}`));
  terminal.line(terminal.paint('bold', `$ npx interlock ${argv.join(' ')}`));
  const code = await main(argv, { terminal, now: Date.now });
  if (code !== EXIT.done.code && code !== EXIT.found.code) process.exit(code);
}
terminal.line();
terminal.prose(
  `Done. The policies are in ${policies}, the rendered documents beside them. Read one, then run: npx interlock --help`,
);

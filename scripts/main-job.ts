import { existsSync, rmSync } from 'node:fs';
import { main } from '../src/cli/cli.ts';
import { EXIT } from '../src/cli/exit.ts';
import { type Terminal, WIDTH } from '../src/cli/terminal.ts';
import { wrap } from '../src/cli/wrap.ts';

const OUT = '.interlock/start';
/** The recording of a small shop, as the arguments of the main job. */
export const EXAMPLE: readonly string[] = [
  'examples/shop/manifests.yaml',
  'examples/shop/access.jsonl.gz',
  '--trust-domain',
  'shop.example',
];

/**
 * The main job, step by step, with the commands a person would type: observe, propose, readiness, rehearse,
 * render. On the example shop where no files are given. Returns the exit code; stops at a step that fails.
 */
export async function mainJob(terminal: Terminal, files: readonly string[]): Promise<number> {
  const missing = files.find(
    (file, i) => !file.startsWith('-') && !isValue(files[i - 1]) && !existsSync(file),
  );
  if (missing !== undefined) {
    terminal.err.write(`There is no file ${missing}. Nothing was changed.\n`);
    return EXIT.failed.code;
  }
  rmSync(OUT, { recursive: true, force: true });
  const state = ['--state', `${OUT}/state`];
  const policies = `${OUT}/policies`;
  const given = files.length > 0 ? files : EXAMPLE;
  const steps: { say: string; argv: string[] }[] = [
    { say: 'Read the recording.', argv: ['observe', ...given, ...state] },
    { say: 'Propose least-privilege policies from it.', argv: ['propose', '--out', policies, ...state] },
    { say: 'How much is known, and what is missing before each tier?', argv: ['readiness', ...state] },
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
    terminal.line(
      terminal.paint('bold', `$ ${wrap(`npx interlock ${argv.join(' ')}`, WIDTH - 4).join(' \\\n    ')}`),
    );
    const code = await main(argv, { terminal, now: Date.now });
    if (code !== EXIT.done.code && code !== EXIT.found.code) return code;
  }
  terminal.line();
  terminal.prose(
    `Done. Policies: ${policies}. Rendered documents: ${OUT}/envoy and ${OUT}/istio. All commands: npx interlock --help`,
  );
  return EXIT.done.code;
}

/** Whether what follows an argument is its value: every option of `observe` has one. */
const isValue = (before: string | undefined) => before?.startsWith('--') === true && !before.includes('=');

import { Command, CommanderError } from 'commander';
import { ERROR_CODES, isInterlockError } from '../access/index.ts';
import type { CommandSpec, Context } from './command.ts';
import { commandsFor } from './commands.ts';
import { EXIT } from './exit.ts';
import { GROUPS } from './groups.ts';
import { DEFAULT_STATE } from './default-state.ts';
import { cannotListen } from './listening.ts';
import { printable, WIDTH } from './terminal.ts';
import { VERSION } from './version.ts';
import { faultText } from './words.ts';
import { wrap } from './wrap.ts';

/** Runs the command line and returns the exit code. Never throws. */
export async function main(argv: readonly string[], context: Context): Promise<number> {
  const { terminal } = context;
  let code: number = EXIT.done.code;
  const program = new Command('interlock')
    .description('From "inside means trusted" to every connection authorized by a reviewed policy.')
    .version(VERSION)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.out.write(text),
      writeErr: (text) => terminal.err.write(text),
      outputError: (text, write) => write(wrapLines(text.replace(/^error: /, 'interlock: '))),
    })
    .configureHelp({ helpWidth: 100 })
    .showHelpAfterError('(add --help for more)')
    .addHelpText('after', `\n${exitTable()}`);
  const groupOf = groupsOf(program);
  for (const spec of await commandsFor(argv)) {
    const words = spec.name.split(' ');
    const last = words.pop() ?? '';
    const command = groupOf(words)
      .command(spec.args === undefined ? last : `${last} ${spec.args}`)
      .description(spec.summary)
      .option('--state <dir>', 'where the state is kept', DEFAULT_STATE)
      .option('--json', 'print JSON for machines')
      .addHelpText('after', helpTail(spec));
    for (const option of spec.options) command.addOption(option);
    command.action(async (...given: unknown[]) => {
      // Commander hands over the arguments, the options and the command, in this order.
      const options = given.at(-2) as never;
      code = await spec.run(context, given.slice(0, -2).flat() as string[], options);
    });
  }
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return code;
  } catch (error) {
    return report(error, context, argv.includes('--json'));
  }
}

/** Makes the groups of commands of several words as they are needed. */
function groupsOf(program: Command): (words: readonly string[]) => Command {
  const groups = new Map<string, Command>([['', program]]);
  const groupOf = (words: readonly string[]): Command => {
    const name = words.join(' ');
    let group = groups.get(name);
    if (group === undefined) {
      group = groupOf(words.slice(0, -1))
        .command(words.at(-1) ?? '')
        .description(GROUPS[name] ?? '')
        .addHelpText('after', `\n${exitTable()}`);
      groups.set(name, group);
    }
    return group;
  };
  return groupOf;
}

function report(thrown: unknown, { terminal }: Context, json: boolean): number {
  const error = cannotListen(thrown) ?? thrown;
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done.code : EXIT.misused.code;
  if (isInterlockError(error)) {
    const { code, subject, place, details } = error;
    const message = faultText(error);
    if (json)
      terminal.err.write(
        `${printable(JSON.stringify({ error: { code, subject, message, ...place, ...details } }))}\n`,
      );
    else terminal.complain(message);
    return ERROR_CODES[code].exit;
  }
  if (error instanceof Error && 'code' in error && error.code === 'EPIPE') return EXIT.done.code;
  const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
  terminal.err.write(
    `interlock: this is a fault in Interlock itself, please report it:\n${what.split('\n').map(printable).join('\n')}\n`,
  );
  return EXIT.failed.code;
}

/** What the parser of the command line says, its lines wrapped like all other text. */
function wrapLines(text: string): string {
  return text
    .split('\n')
    .map((line) => wrap(printable(line), WIDTH).join('\n'))
    .join('\n');
}

/** What stands under a command's options. */
function helpTail({ example, json }: CommandSpec<never>): string {
  const shape = wrap(`With --json: ${json.replaceAll('\n', ' ')}`, WIDTH).join('\n');
  return `\nExample:\n  ${example}\n\n${shape}\n\n${exitTable()}`;
}

function exitTable(): string {
  const rows = Object.values(EXIT).map(({ code, means }) => `  ${code}  ${means}`);
  return ['Exit codes:', ...rows].join('\n');
}

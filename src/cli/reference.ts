import { allCommands } from './commands.ts';
import { EXIT } from './exit.ts';

const COMMANDS = await allCommands();

/** The reference of every command as Markdown, from the same table that the commands are made from. */
export function commandReference(): string {
  const parts = [
    '# Commands',
    'Made from the table of commands; `npm run generate` writes it anew.',
    'Every command takes `--state DIR` (where the state is kept, default `.interlock`), `--json` and `--help`.',
    '## Exit codes',
    ['| code | means |', '|---|---|', ...Object.values(EXIT).map((e) => `| ${e.code} | ${e.means} |`)].join(
      '\n',
    ),
  ];
  for (const { name, args, summary, options, example, json } of COMMANDS) {
    parts.push(`## interlock ${args === undefined ? name : `${name} ${args}`}`, summary);
    if (options.length > 0) {
      parts.push(
        [
          '| option | meaning |',
          '|---|---|',
          ...options.map((o) => `| \`${cell(o.flags)}\` | ${cell(o.description)}${choices(o.argChoices)} |`),
        ].join('\n'),
      );
    }
    parts.push(`\`\`\`sh\n${example}\n\`\`\``, `With \`--json\`: \`${json.replaceAll('\n', ' ')}\``);
  }
  return `${parts.join('\n\n')}\n`;
}

const cell = (text: string) => text.replaceAll('|', '\\|');
const choices = (of: readonly string[] | undefined) => (of === undefined ? '' : ` (${of.join(', ')})`);

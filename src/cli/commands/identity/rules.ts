import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InterlockError } from '../../../access/index.ts';
import type { IdentityRule, readIdentityRules } from '../../../identity/index.ts';
import type { CommandSpec } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';
import { ioError, readText } from '../../files.ts';
import { plural } from '../../words.ts';

/** `interlock identity rules apply`: adds rules, or replaces them. */
export const rulesApplyCommand: CommandSpec<ApiOptions> = {
  name: 'identity rules apply',
  args: '<path...>',
  summary:
    'Add the IdentityRule documents of files or directories, or replace those of the same names; all or none.',
  options: [SERVER],
  example: 'interlock identity rules apply rules/',
  json: '{created: [name], changed: [name], unchanged: [name], warnings: [text]}',
  async run({ terminal }, paths, { state, server, json }) {
    // What the other commands here do without: the reader of rules is most of a start.
    const { readIdentityRules: read } = await import('../../../identity/index.ts');
    const rules = paths.flatMap((path) => rulesAt(path, read));
    if (rules.length === 0)
      throw new InterlockError('not_found', paths.join(' '), 'there is no IdentityRule document');
    const applied = await new Api({ state, server }).call('rules.apply', { body: { rules } });
    if (json) {
      terminal.json(applied);
      return EXIT.done.code;
    }
    for (const word of ['created', 'changed', 'unchanged'] as const) {
      for (const name of applied[word]) terminal.line(`${word.padEnd(9)}  ${name}`);
    }
    for (const warning of applied.warnings) terminal.remark(`Warning: ${warning}.`);
    return EXIT.done.code;
  },
};

/** `interlock identity rules list`: the rules in force. */
export const rulesListCommand: CommandSpec<ApiOptions> = {
  name: 'identity rules list',
  summary: 'List the registration rules in force.',
  options: [SERVER],
  example: 'interlock identity rules list',
  json: '{version, rules: [IdentityRule document]}',
  async run({ terminal }, _args, { state, server, json }) {
    const shown = await new Api({ state, server }).call('rules.list');
    if (json) {
      terminal.json(shown);
      return EXIT.done.code;
    }
    terminal.listing([
      ['RULE', 'GIVES', 'TO WORKLOADS WITH', 'LIFE'],
      // Its rules are IdentityRule documents, as the control plane keeps them.
      ...(shown.rules as readonly IdentityRule[]).map(({ metadata, spec }) => [
        metadata.name,
        spec.spiffeId,
        [
          ...(spec.selectors ?? []),
          spec.when ?? '',
          spec.downstream === undefined ? '' : '(a child authority)',
        ]
          .filter(Boolean)
          .join(', ') || '(what the ID names)',
        spec.ttl ?? '1h',
      ]),
    ]);
    terminal.line();
    terminal.line(`${plural(shown.rules.length, 'rule')}, version ${shown.version}.`);
    return EXIT.done.code;
  },
};

/** `interlock identity rules delete`: takes a rule away. */
export const rulesDeleteCommand: CommandSpec<ApiOptions> = {
  name: 'identity rules delete',
  args: '<name>',
  summary:
    'Take a rule away: agents give workloads that have an identity by it alone no SVID any more, at once. A program keeps the SVID that it has until that ends; "interlock identity revoke" ends it at once.',
  options: [SERVER],
  example: 'interlock identity rules delete by-uid',
  json: '{removed: name}',
  async run({ terminal }, [name = ''], { state, server, json }) {
    const done = await new Api({ state, server }).call('rules.remove', { params: { name } });
    if (json) terminal.json(done);
    else terminal.line(`removed    ${done.removed}`);
    return EXIT.done.code;
  },
};

/** The rules of one file, or of the YAML files of a directory. */
function rulesAt(path: string, read: typeof readIdentityRules): IdentityRule[] {
  let files: string[];
  try {
    files = statSync(path).isDirectory()
      ? readdirSync(path)
          .filter((name) => /\.(ya?ml|json)$/.test(name))
          .toSorted()
          .map((name) => join(path, name))
      : [path];
  } catch (cause) {
    throw ioError(path, cause);
  }
  return files.flatMap((file) => read(readText(file), file));
}

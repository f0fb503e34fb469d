import { diffPolicies } from '../../policy/index.ts';
import type { CommandSpec, CommonOptions } from '../command.ts';
import { EXIT } from '../exit.ts';
import { readPolicyDirectory } from '../policy-directory.ts';
import { grantCells, grantJson } from '../grants.ts';
import { plural } from '../words.ts';

/** `interlock diff DIR DIR`: what one policy set authorizes and the other does not. */
export const diffCommand: CommandSpec<CommonOptions> = {
  name: 'diff',
  args: '<before> <after>',
  summary: 'List what one policy set authorizes and the other does not, as accesses. Exit 3 if they differ.',
  options: [],
  example: 'interlock diff policies/ policies-next/',
  json: '{removed: [{from, to, port?, protocol, ..., policy, rule, when?, until?, partly?}],\nadded: [...], noLongerProtected: [id], newlyProtected: [id]}',
  async run({ terminal }, [before = '', after = ''], options) {
    const {
      onlyInFirst: removed,
      onlyInSecond: added,
      ...protection
    } = diffPolicies(readPolicyDirectory(before), readPolicyDirectory(after));
    const unprotected = protection.protectedOnlyInFirst;
    const nowProtected = protection.protectedOnlyInSecond;
    const differ = removed.length + added.length + unprotected.length + nowProtected.length > 0;
    if (options.json) {
      terminal.json({
        removed: removed.map(grantJson),
        added: added.map(grantJson),
        noLongerProtected: unprotected,
        newlyProtected: nowProtected,
      });
    } else if (!differ) terminal.line('Both sets authorize the same accesses.');
    else {
      for (const [title, sign, list] of [
        ['no longer authorized', '-', removed],
        ['newly authorized', '+', added],
      ] as const) {
        if (list.length === 0) continue;
        terminal.heading(`${plural(list.length, 'access', 'accesses')} ${title}`);
        terminal.table([
          ['', 'FROM', 'TO', 'ACTION', 'RULE'],
          ...list.map((difference) => [sign, ...grantCells(difference)]),
        ]);
      }
      terminal.line();
      if (unprotected.length > 0) {
        terminal.prose(`No longer protected, so everything is allowed there: ${unprotected.join(', ')}.`);
      }
      if (nowProtected.length > 0) {
        terminal.prose(
          `Newly protected, so what no rule allows is denied there: ${nowProtected.join(', ')}.`,
        );
      }
    }
    return differ ? EXIT.found.code : EXIT.done.code;
  },
};

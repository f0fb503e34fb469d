import type { CommandSpec, CommonOptions } from '../command.ts';
import { Api } from '../control/api.ts';
import { EXIT } from '../exit.ts';
import { timeText } from '../words.ts';

/** `interlock sign-in-link`: another way in, for who owns the machine. */
export const signInLinkCommand: CommandSpec<CommonOptions> = {
  name: 'sign-in-link',
  summary:
    'Make a link that signs one person in to the console, once, with every role. Only the owner of the state directory and root can make one.',
  options: [],
  example: 'interlock sign-in-link',
  json: '{url, until}',
  async run({ terminal }, _args, { state, json }) {
    const link = await new Api({ state }).call('sign-in-links.make');
    if (json) terminal.json(link);
    else {
      terminal.line(link.url);
      terminal.remark(`It signs one person in, once, until ${timeText(link.until)}.`);
    }
    return EXIT.done.code;
  },
};

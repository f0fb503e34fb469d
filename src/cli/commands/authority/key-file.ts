import { type CommandSpec, type CommonOptions } from '../../command.ts';
import { EXIT } from '../../exit.ts';

/** `interlock authority key-file`: the key for keys that are kept in a database. */
export const authorityKeyFileCommand: CommandSpec<CommonOptions> = {
  name: 'authority key-file',
  args: '<file>',
  summary:
    'Make the key that the keys of authorities are sealed with in a database ("interlock up --database"). Every control plane of the database needs the same file; without it nobody has the keys.',
  options: [],
  example: 'interlock authority key-file /etc/interlock/sealing.key',
  json: '{file}',
  async run({ terminal }, [file = ''], { json }) {
    const { makeKeyFile } = await import('../../../server/index.ts');
    makeKeyFile(file);
    if (json) terminal.json({ file });
    else
      terminal.prose(
        `${file} holds a new key. Keep a copy where the database's copies are not: who has both has every authority.`,
      );
    return EXIT.done.code;
  },
};

import { type CommandSpec, type CommonOptions, Option } from '../../command.ts';
import { EXIT } from '../../exit.ts';

interface Options extends CommonOptions {
  readonly add?: true;
  readonly remove?: string;
  readonly show?: true;
}

/** `interlock authority key-file`: the key for keys that are kept in a database. */
export const authorityKeyFileCommand: CommandSpec<Options> = {
  name: 'authority key-file',
  args: '<file>',
  summary:
    'Make the key that the keys of authorities are sealed with in a database ("interlock up --database"). Every control plane of the database needs the same file; without it nobody has the keys. A file may hold several keys while one takes the place of another ("interlock authority reseal").',
  options: [
    new Option('--add', 'put a new key before those of the file: the next reseal is to it').conflicts([
      'remove',
      'show',
    ]),
    new Option('--remove <id>', 'take a key out of it that seals nothing any more').conflicts('show'),
    new Option('--show', 'only say the IDs of its keys'),
  ],
  example: 'interlock authority key-file /etc/interlock/sealing.key',
  json: '{file, keys: [id]}',
  async run({ terminal }, [file = ''], { json, add, remove, show }) {
    const { addKey, makeKeyFile, readKeyFile, removeKey } = await import('../../../server/index.ts');
    let said = '';
    if (add) {
      const id = addKey(file);
      said = `${file} holds a new key ${id}, before the others. Give it to every control plane, then say "interlock authority reseal".`;
    } else if (remove !== undefined) {
      removeKey(file, remove);
      said = `${file} does not hold ${remove} any more. Whoever has a copy of it and of an old copy of the database still has the keys of that time.`;
    } else if (!show) {
      makeKeyFile(file);
      said = `${file} holds a new key. Keep a copy where the database's copies are not: who has both has every authority.`;
    }
    const keys = readKeyFile(file).map(({ id }) => id);
    if (json) terminal.json({ file, keys });
    else if (show) for (const id of keys) terminal.line(id);
    else terminal.prose(said);
    return EXIT.done.code;
  },
};

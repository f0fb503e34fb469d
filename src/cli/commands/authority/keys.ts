import type { Received } from '../../../api/index.ts';
import { type CommandSpec, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';
import type { Terminal } from '../../terminal.ts';
import { plural } from '../../words.ts';

interface Options extends ApiOptions {
  readonly check?: true;
}

const JSON_SHAPE =
  '{isSealed, wanted?, sealing?, keys: [{id, seals, isHere}], replicas: [{id, host?, keys?}], isDone}';

/** `interlock authority keys`: with which key of the key file the authorities' keys are sealed. */
export const authorityKeysCommand: CommandSpec<Options> = {
  name: 'authority keys',
  summary:
    'Show with which key of the key file the private keys of authorities are sealed in the database, and which control plane has which.',
  options: [
    SERVER,
    new Option('--check', 'exit 3 unless all are sealed with the first key, and every control plane has it'),
  ],
  example: 'interlock authority keys --check',
  json: JSON_SHAPE,
  async run({ terminal }, _, { json, check, ...of }) {
    const found = await new Api(of).call('sealing.get');
    if (json) terminal.json(found);
    else tell(terminal, found);
    return check === true && !found.isDone ? EXIT.found.code : EXIT.done.code;
  },
};

/** `interlock authority reseal`: seals them with the first key of the key file. */
export const authorityResealCommand: CommandSpec<ApiOptions> = {
  name: 'authority reseal',
  summary:
    'Seal every private key in the database with the first key of the key file, while control planes run. Each of them must have that key. Stopped half-way, it goes on where it is said again.',
  options: [SERVER],
  example: 'interlock authority reseal',
  json: `${JSON_SHAPE.slice(0, -1)}, resealed}`,
  async run({ terminal }, _, { json, ...of }) {
    const done = await new Api(of).call('sealing.reseal', {});
    if (json) terminal.json(done);
    else {
      terminal.prose(`${plural(done.resealed, 'key')} sealed anew with ${done.sealing ?? 'the first key'}.`);
      tell(terminal, done);
    }
    return EXIT.done.code;
  },
};

function tell(terminal: Terminal, found: Received<'sealing.get'>): void {
  const { isSealed, wanted, sealing, keys, replicas, isDone } = found;
  if (!isSealed) {
    terminal.prose('Nothing is sealed: keys are files of the state directory, for its owner alone.');
    return;
  }
  terminal.listing([
    ['key', 'seals', 'in the key file', ''],
    ...keys.map(({ id, seals, isHere }) => [
      id,
      String(seals),
      isHere ? (id === wanted ? 'first' : 'yes') : 'no',
      id === sealing ? 'seals what is new' : '',
    ]),
  ]);
  for (const { id, host, keys: theirs } of replicas) {
    const has = theirs === undefined ? 'does not say which keys it has' : `has ${theirs.join(', ')}`;
    terminal.prose(`The control plane ${host ?? id} ${has}.`);
  }
  const old = keys.filter(({ id }) => id !== wanted);
  if (!isDone) terminal.prose('Not all is sealed with the first key yet: "interlock authority reseal".');
  else if (old.length > 0)
    terminal.prose(
      `Nothing needs ${old.map(({ id }) => id).join(', ')} any more: "interlock authority key-file FILE --remove ID", on every machine.`,
    );
}

import type { CommandSpec } from '../../command.ts';
import { Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER, durationOption } from '../../control/options.ts';
import { shortId, timeAndDistance } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import type { Terminal } from '../../terminal.ts';
import { plural } from '../../words.ts';
import { type AuthorityShown, stateWords } from './show.ts';

const JSON_SHAPE =
  'the authority: {id, name, state, algorithm, notBefore, notAfter, live: {KIND: count}, ...}';
const NAME = new Option('--name <name>', 'which of the named authorities').default('default');

interface NameOptions extends ApiOptions {
  readonly name: string;
}

/** `interlock authority rotate`: the next authority, as soon as every agent knows it. */
export const authorityRotateCommand: CommandSpec<NameOptions> = {
  name: 'authority rotate',
  summary:
    'Prepare the next authority and let it take over as soon as every connected agent has confirmed its root.',
  options: [SERVER, NAME],
  example: 'interlock authority rotate',
  json: JSON_SHAPE,
  async run({ terminal, now }, _args, { state, server, json, name }) {
    const shown = await new Api({ state, server }).call('authorities.rotate', { body: { name } });
    return tell(terminal, shown, now(), json);
  },
};

/** `interlock authority prepare`: the next authority, or the first one of a new name. */
export const authorityPrepareCommand: CommandSpec<NameOptions> = {
  name: 'authority prepare',
  summary:
    'Make the next authority and publish its root; it signs when it is activated. The first of a name signs at once.',
  options: [SERVER, NAME],
  example: 'interlock authority prepare --name region-b',
  json: JSON_SHAPE,
  async run({ terminal, now }, _args, { state, server, json, name }) {
    const shown = await new Api({ state, server }).call('authorities.prepare', { body: { name } });
    return tell(terminal, shown, now(), json);
  },
};

/** `interlock authority activate`: lets a prepared authority sign. */
export const authorityActivateCommand: CommandSpec<ApiOptions & { readonly force?: true }> = {
  name: 'authority activate',
  args: '<authority>',
  summary: 'Let a prepared authority sign. Refused while a connected agent has not confirmed its root.',
  options: [
    SERVER,
    new Option('--force', 'although agents have not confirmed: its SVIDs will be refused there'),
  ],
  example: 'interlock authority activate 3f2a90c41b',
  json: JSON_SHAPE,
  async run({ terminal, now }, [id = ''], { state, server, json, force }) {
    const body = { force: force === true };
    const shown = await new Api({ state, server }).call('authorities.activate', { params: { id }, body });
    return tell(terminal, shown, now(), json);
  },
};

/** `interlock authority taint`: replaces what an authority has signed. */
export const authorityTaintCommand: CommandSpec<ApiOptions & { readonly over: number }> = {
  name: 'authority taint',
  args: '<authority>',
  summary:
    'Rely on an authority no more: every SVID that it signed is replaced, spread over a time. "authority show" counts what is left.',
  options: [
    SERVER,
    new Option('--over <duration>', 'spread the replacements over this time')
      .argParser(durationOption)
      .default(60_000, '1m'),
  ],
  example: 'interlock authority taint 3f2a90c41b --over 10m',
  json: JSON_SHAPE,
  async run({ terminal, now }, [id = ''], { state, server, json, over }) {
    const body = { overMs: over };
    const shown = await new Api({ state, server }).call('authorities.taint', { params: { id }, body });
    return tell(terminal, shown, now(), json);
  },
};

/** `interlock authority revoke`: takes an authority's root out of the bundle. */
export const authorityRevokeCommand: CommandSpec<ApiOptions & { readonly force?: true }> = {
  name: 'authority revoke',
  args: '<authority>',
  summary:
    'Take a tainted authority out of the bundle: nothing that it signed is accepted any more, anywhere. Refused while SVIDs of it are live.',
  options: [
    SERVER,
    new Option(
      '--force',
      'although SVIDs of it are live: they are refused at once, and agents that have one attest anew',
    ),
  ],
  example: 'interlock authority revoke 3f2a90c41b',
  json: JSON_SHAPE,
  async run({ terminal, now }, [id = ''], { state, server, json, force }) {
    const body = { force: force === true };
    const shown = await new Api({ state, server }).call('authorities.revoke', { params: { id }, body });
    return tell(terminal, shown, now(), json);
  },
};

function tell(terminal: Terminal, shown: AuthorityShown, now: number, json: true | undefined): number {
  if (json) {
    terminal.json(shown);
    return EXIT.done.code;
  }
  const end = timeAndDistance(shown.notAfter, now);
  terminal.prose(`Authority ${shortId(shown.id)} ("${shown.name}"): ${stateWords(shown)}; ends ${end}.`);
  const left = Object.values(shown.live).reduce((sum, count) => sum + count, 0);
  if (shown.taintedAt !== undefined && shown.revokedAt === undefined && left > 0)
    terminal.prose(`${plural(left, 'live SVID')} of it ${left === 1 ? 'is' : 'are'} left to be replaced.`);
  return EXIT.done.code;
}

import type { Received } from '../../../api/index.ts';
import type { CommandSpec } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';
import { plural } from '../../words.ts';
import { distanceText, shortId } from '../../control/words.ts';

/** An authority as the API shows it. Times are milliseconds. */
export type AuthorityShown = Received<'authorities.list'>['authorities'][number];

const ROOT_WORDS: Readonly<Record<string, string>> = {
  self: 'its own',
  offline: 'kept offline',
  parent: 'of its parent',
};

/** `interlock authority show`: the authorities and where they are in their lives. */
export const authorityShowCommand: CommandSpec<ApiOptions> = {
  name: 'authority show',
  summary: 'Show the authorities: which one signs, until when, and what is still live under each.',
  options: [SERVER],
  example: 'interlock authority show',
  json: '{trustDomain, root, parent?, prefixes?, joined: [{name, address, trustDomain, fault?}],\nauthorities: [{id, name, trustDomain, state, algorithm, key, notBefore, notAfter,\ntaintedAt?, revokedAt?, isConfirmed, isWanted, isRoot, prefixes?, live: {KIND: count}, pem, rootPem}]}',
  async run({ terminal, now }, _args, options) {
    const shown = await new Api(options).call('authorities.list');
    if (options.json) {
      terminal.json(shown);
      return EXIT.done.code;
    }
    terminal.line(`Trust domain ${shown.trustDomain}; its root is ${ROOT_WORDS[shown.root] ?? shown.root}.`);
    if (shown.prefixes !== undefined) terminal.prose(`It may speak for ${shown.prefixes.join(', ')} only.`);
    for (const { name, address, trustDomain, fault } of shown.joined)
      terminal.prose(
        `"${name}" is of ${trustDomain}, at ${address}: ${fault === undefined ? 'connected' : `not connected (${fault})`}.`,
      );
    terminal.line();
    terminal.listing([
      ['NAME', 'AUTHORITY', 'STATE', 'KEY', 'ENDS', 'LIVE SVIDS'],
      ...shown.authorities.map((each) => [
        each.name,
        shortId(each.id),
        stateWords(each),
        each.key,
        distanceText(each.notAfter, now()),
        liveWords(each.live),
      ]),
    ]);
    return EXIT.done.code;
  },
};

/** The state of an authority with what matters beside it. */
export function stateWords({ state, taintedAt, revokedAt, isConfirmed, isWanted }: AuthorityShown): string {
  if (revokedAt !== undefined) return `${state}, revoked`;
  if (taintedAt !== undefined) return `${state}, tainted`;
  if (state !== 'prepared') return state;
  if (isConfirmed) return isWanted ? 'prepared, takes over' : 'prepared, confirmed';
  return 'prepared, waits for agents';
}

function liveWords(live: Readonly<Record<string, number>>): string {
  const parts = Object.entries(live).map(([kind, count]) => plural(count, kind === 'jwt' ? 'JWT' : kind));
  return parts.join(', ') || 'none';
}

import { KEY_ALGORITHMS, type KeyAlgorithm } from '../../../identity/index.ts';
import type { CommandSpec, CommonOptions } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { EXIT } from '../../exit.ts';
import { plural } from '../../words.ts';
import { shortId, timeAndDistance } from '../../control/words.ts';

/** An authority as the API shows it. Times are milliseconds. */
export interface AuthorityShown {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly algorithm: KeyAlgorithm;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly taintedAt?: number;
  readonly revokedAt?: number;
  readonly isConfirmed: boolean;
  readonly isWanted: boolean;
  readonly isRoot: boolean;
  readonly prefixes?: readonly string[];
  readonly live: Readonly<Record<string, number>>;
  readonly pem: string;
  readonly rootPem: string;
}

interface Shown {
  readonly trustDomain: string;
  readonly root: string;
  readonly parent?: string;
  readonly prefixes?: readonly string[];
  readonly authorities: readonly AuthorityShown[];
}

const ROOT_WORDS: Readonly<Record<string, string>> = {
  self: 'its own',
  offline: 'kept offline',
  parent: 'of its parent',
};

/** `interlock authority show`: the authorities and where they are in their lives. */
export const authorityShowCommand: CommandSpec<CommonOptions> = {
  name: 'authority show',
  summary: 'Show the authorities: which one signs, until when, and what is still live under each.',
  options: [],
  example: 'interlock authority show',
  json: '{trustDomain, root, parent?, prefixes?, authorities: [{id, name, state, algorithm, notBefore, notAfter,\ntaintedAt?, revokedAt?, isConfirmed, isWanted, isRoot, prefixes?, live: {KIND: count}, pem, rootPem}]}',
  async run({ terminal, now }, _args, options) {
    const shown = await new Api(options.state).get<Shown>('/v1/authorities');
    if (options.json) {
      terminal.json(shown);
      return EXIT.done.code;
    }
    terminal.line(`Trust domain ${shown.trustDomain}; its root is ${ROOT_WORDS[shown.root] ?? shown.root}.`);
    if (shown.prefixes !== undefined) terminal.prose(`It may speak for ${shown.prefixes.join(', ')} only.`);
    terminal.line();
    terminal.table(
      [
        ['NAME', 'AUTHORITY', 'STATE', 'KEY', 'ENDS', 'LIVE SVIDS'],
        ...shown.authorities.map((each) => [
          each.name,
          shortId(each.id),
          stateWords(each),
          KEY_ALGORITHMS[each.algorithm].label,
          timeAndDistance(each.notAfter, now()),
          liveWords(each.live),
        ]),
      ],
      { indent: 0 },
    );
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

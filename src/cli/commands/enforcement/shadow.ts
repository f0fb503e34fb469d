import {
  type Action,
  actionText,
  type Principal,
  principalText,
  type SpiffeId,
  trustDomainOf,
} from '../../../access/index.ts';
import type { Verdict } from '../../../policy/index.ts';
import { isDeniedOnPurpose } from '../../../rollout/index.ts';
import { type CommandSpec, Option, spiffeIdOption } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { distanceText } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import { printable } from '../../terminal.ts';
import { countText, idName, plural } from '../../words.ts';
import { verdictCell } from '../rehearse.ts';
import { followFlips } from './follow-flips.ts';

/** A flip as the control plane lists it. */
export interface FlipShown {
  readonly from: Principal;
  readonly to: SpiffeId;
  readonly action: Action;
  readonly before: Verdict;
  readonly after: Verdict;
  readonly refused: boolean;
  readonly count: number;
  readonly firstSeen: number;
  readonly lastSeen: number;
}

interface Options extends ApiOptions {
  readonly to?: SpiffeId;
  readonly follow?: true;
}

/** `interlock shadow`: what the target sets would change, on live traffic. */
export const shadowCommand: CommandSpec<Options> = {
  name: 'shadow',
  summary:
    'Show the flips that proxies report: accesses allowed today that the target set would deny, those it would newly allow, and those refused already, with who calls and which rule decides. What a deny rule of the target denies is shown as denied on purpose, and asks for no decision.',
  options: [
    SERVER,
    new Option('--to <id>', 'of one workload').argParser(spiffeIdOption),
    new Option('--follow', 'go on, and print each as it happens; a control plane that is away is waited for'),
  ],
  example: 'interlock shadow --to spiffe://example.org/ns/shop/sa/cart',
  json: '{flips: [{from, to, action, before, after, refused, count, firstSeen, lastSeen}]}; with --follow one flip a line',
  async run({ terminal, now }, _args, { state, server, json, to, follow }) {
    const api = new Api({ state, server });
    const query = to === undefined ? {} : { to };
    const { flips } = await api.call('flips.list', { query });
    if (json && !follow) {
      terminal.json({ flips });
      return flips.every(isDeniedOnPurpose) ? EXIT.done.code : EXIT.found.code;
    }
    if (!follow) {
      if (flips.length === 0) terminal.line('No flips. What is judged: interlock policy list');
      else {
        const domain = domainOf(flips);
        terminal.listing([
          ['CALLER -> WORKLOAD', 'RESULT', 'ACTION', 'CALLS', 'LAST', 'TODAY -> TARGET'],
          ...flips.map((flip) => [
            `${callerName(flip.from, domain)} -> ${idName(flip.to, domain)}`,
            resultOf(flip),
            actionText(flip.action),
            countText(flip.count),
            distanceText(flip.lastSeen, now()),
            `${verdictCell(flip.before)} -> ${verdictCell(flip.after)}`,
          ]),
        ]);
        const open = flips.filter((flip) => !isDeniedOnPurpose(flip));
        const refused = open.filter((flip) => flip.refused).length;
        const decided = flips.length - open.length;
        const names = domain === '' ? '' : ` Names are of trust domain ${domain}.`;
        terminal.line();
        terminal.prose(
          `${plural(open.length - refused, 'flip')}${refused > 0 ? `, ${countText(refused)} refused already` : ''}${decided > 0 ? `, ${countText(decided)} denied on purpose` : ''}.${names}`,
        );
      }
      return flips.every(isDeniedOnPurpose) ? EXIT.done.code : EXIT.found.code;
    }
    const ask = async (since: number) => (await api.call('flips.list', { query: { ...query, since } })).flips;
    return followFlips(flips, ask, terminal, (flip) => {
      if (json) terminal.json(flip);
      else terminal.line(flipLine(flip));
    });
  },
};

/** One flip as it is told while they are followed. */
export function flipLine(flip: FlipShown): string {
  const { from, to, action, before, after, count, lastSeen } = flip;
  const line = `${new Date(lastSeen).toISOString().slice(11, 19)}  ${resultOf(flip)}  ${principalText(from)} -> ${to}  ${actionText(action)}  x${count}  ${verdictCell(before)} -> ${verdictCell(after)}`;
  return printable(line);
}

/** The one trust domain of the workloads, whose names are then short; empty where there are several. */
function domainOf(flips: readonly FlipShown[]): string {
  const [first = '', ...others] = new Set(flips.map(({ to }) => trustDomainOf(to)));
  return others.length === 0 ? first : '';
}

function callerName(from: Principal, domain: string): string {
  return from.kind === 'workload' ? idName(from.id, domain) : principalText(from);
}

function resultOf({ refused, before, after }: FlipShown): string {
  if (isDeniedOnPurpose({ after })) return refused ? 'refused on purpose' : 'denied on purpose';
  if (refused) return after.allowed ? 'REFUSED, target allows' : 'REFUSED';
  return before.allowed ? 'would be denied' : 'would be allowed';
}

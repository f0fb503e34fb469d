import { setTimeout as delay } from 'node:timers/promises';
import {
  type Action,
  actionText,
  type Principal,
  principalText,
  type SpiffeId,
} from '../../../access/index.ts';
import type { Verdict } from '../../../policy/index.ts';
import { type CommandSpec, type CommonOptions, Option, spiffeIdOption } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { distanceText } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import { countText, plural } from '../../words.ts';
import { verdictCell } from '../rehearse.ts';

interface FlipShown {
  readonly from: Principal;
  readonly to: string;
  readonly action: Action;
  readonly before: Verdict;
  readonly after: Verdict;
  readonly refused: boolean;
  readonly count: number;
  readonly firstSeen: number;
  readonly lastSeen: number;
}

interface Options extends CommonOptions {
  readonly to?: SpiffeId;
  readonly follow?: true;
}

/** How often `--follow` asks. */
const FOLLOW_MS = 500;

/** `interlock shadow`: what the target sets would change, on live traffic. */
export const shadowCommand: CommandSpec<Options> = {
  name: 'shadow',
  summary:
    'Show the flips that proxies report: accesses allowed today that the target set would deny, those it would newly allow, and those refused already, with who calls and which rule decides.',
  options: [
    new Option('--to <id>', 'of one workload').argParser(spiffeIdOption),
    new Option('--follow', 'go on, and print each as it happens'),
  ],
  example: 'interlock shadow --to spiffe://example.org/ns/shop/sa/cart',
  json: '{flips: [{from, to, action, before, after, refused, count, firstSeen, lastSeen}]}; with --follow one flip a line',
  async run({ terminal, now }, _args, { state, json, to, follow }) {
    const api = new Api(state);
    const query = to === undefined ? {} : { to };
    const { flips } = await api.get<{ flips: FlipShown[] }>('/v1/flips', query);
    if (json && !follow) {
      terminal.json({ flips });
      return flips.length === 0 ? EXIT.done.code : EXIT.found.code;
    }
    if (!follow) {
      if (flips.length === 0) terminal.line('No flips: the target sets decide as what is in force.');
      else
        terminal.listing([
          ['CALLER -> WORKLOAD', 'RESULT', 'ACTION', 'CALLS', 'LAST', 'TODAY -> TARGET'],
          ...flips.map((flip) => [
            `${principalText(flip.from)} -> ${flip.to}`,
            resultOf(flip),
            actionText(flip.action),
            countText(flip.count),
            distanceText(flip.lastSeen, now()),
            `${verdictCell(flip.before)} -> ${verdictCell(flip.after)}`,
          ]),
        ]);
      if (flips.length > 0) terminal.line(`${plural(flips.length, 'flip')}.`);
      return flips.length === 0 ? EXIT.done.code : EXIT.found.code;
    }
    const told = new Map<string, number>();
    for (let next = flips; ; ) {
      for (const flip of next.toSorted((a, b) => a.lastSeen - b.lastSeen)) {
        const key = JSON.stringify([flip.from, flip.to, flip.action, flip.before, flip.after, flip.refused]);
        if (told.get(key) === flip.count) continue;
        const before = told.get(key) ?? 0;
        // Fewer than before: they were forgotten with a former target, and counted anew.
        const more = flip.count > before ? flip.count - before : flip.count;
        told.set(key, flip.count);
        if (json) terminal.json({ ...flip, count: more });
        else
          terminal.line(
            `${new Date(flip.lastSeen).toISOString().slice(11, 19)}  ${resultOf(flip)}  ${principalText(flip.from)} -> ${flip.to}  ${actionText(flip.action)}  x${more}  ${verdictCell(flip.before)} -> ${verdictCell(flip.after)}`,
          );
      }
      await delay(FOLLOW_MS);
      const latest = Math.max(0, ...next.map(({ lastSeen }) => lastSeen));
      next = (
        await api.get<{ flips: FlipShown[] }>('/v1/flips', {
          ...query,
          since: String(Math.max(0, latest - 1000)),
        })
      ).flips;
    }
  },
};

function resultOf({ refused, before, after }: FlipShown): string {
  if (refused) return after.allowed ? 'REFUSED, target allows' : 'REFUSED';
  return before.allowed ? 'would be denied' : 'would be allowed';
}

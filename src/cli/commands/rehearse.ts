import { principalText } from '../../access/index.ts';
import { type AccessPolicy, compile, policiesAt, type Verdict } from '../../policy/index.ts';
import {
  APPROXIMATIONS,
  type EndingAccess,
  endingAccesses,
  type Flip,
  type Rehearsal,
  rehearse,
} from '../../rollout/index.ts';
import { type CommandSpec, type CommonOptions, Option } from '../command.ts';
import { EXIT } from '../exit.ts';
import { readPolicyDirectory } from '../policy-directory.ts';
import { loadEstate } from '../state.ts';
import type { Terminal } from '../terminal.ts';
import { actionCell, countText, idName, nameOf, plural, dayText } from '../words.ts';

/** What a readiness looks ahead: the first week of enforcement. */
const FIRST_WEEK_MS = 7 * 86_400_000;

interface Options extends CommonOptions {
  readonly current?: string;
}

/** `interlock rehearse DIR`: what would change for the recorded accesses if the policies were enforced. */
export const rehearseCommand: CommandSpec<Options> = {
  name: 'rehearse',
  args: '<dir>',
  summary: 'Replay every recorded access against a policy set and list the flips. Exit 3 if there are any.',
  options: [new Option('--current <dir>', 'what is enforced today (without it: nothing is, all is allowed)')],
  example: 'interlock rehearse policies/',
  json: '{flips: [{from, to, action, before, after, count, lastSeen, exact, approximate}], accesses, calls,\napproximate, leftOut: {neverReached, outside}, unprotected, ending: [{from, to, action, policy, rule, until, count}]}; before and after: {allowed, decidedBy, policy?, rule?}',
  async run({ terminal, now: clock }, [dir = ''], options) {
    const now = clock();
    // Rules that are over are as if they were not there: what is rehearsed is what would be enforced now.
    const setOf = (policies: readonly AccessPolicy[]) => compile(policiesAt(policies, now));
    const policies = readPolicyDirectory(dir);
    const current = options.current === undefined ? undefined : setOf(readPolicyDirectory(options.current));
    const { graph } = await loadEstate(options.state);
    const result = rehearse(graph, setOf(policies), current);
    const ending = endingAccesses(graph.accesses, policies, now, FIRST_WEEK_MS);
    if (options.json) terminal.json({ ...rehearsalJson(result), ending: ending.map(endingJson) });
    else {
      print(terminal, result, graph.trustDomain, current !== undefined);
      printEnding(terminal, ending, graph.trustDomain);
    }
    return result.flips.length > 0 ? EXIT.found.code : EXIT.done.code;
  },
};

function endingJson({ from, ...rest }: EndingAccess) {
  return { from: principalText(from), ...rest };
}

function rehearsalJson({ flips, ...rest }: Rehearsal) {
  return {
    flips: flips.map(({ from, lastSeen, approximate, ...flip }) => ({
      from: principalText(from),
      ...flip,
      lastSeen: new Date(lastSeen).toISOString(),
      exact: approximate.length === 0,
      approximate,
    })),
    ...rest,
  };
}

function print(terminal: Terminal, result: Rehearsal, trustDomain: string, hasCurrent: boolean): void {
  const { flips, accesses, calls, approximate, leftOut, unprotected } = result;
  terminal.line(
    `Replayed ${plural(accesses, 'access', 'accesses')} standing for ${plural(calls, 'call')} ` +
      `against ${hasCurrent ? 'both sets' : 'the target set; nothing is enforced today'}.`,
  );
  if (flips.length === 0) terminal.line(terminal.paint('green', 'No flips: nothing recorded would change.'));
  for (const [title, denied] of [
    ['WOULD BE DENIED', true],
    ['WOULD BE ALLOWED', false],
  ] as const) {
    const list = flips.filter((flip) => flip.before.allowed === denied);
    if (list.length === 0) continue;
    terminal.heading(`${title}: ${plural(list.length, 'access', 'accesses')}`);
    for (const [to, flips] of Map.groupBy(list, (flip) => flip.to)) {
      terminal.line(`  to ${idName(to, trustDomain)}`);
      terminal.table(
        [
          ['FROM', 'ACTION', 'CALLS', 'LAST SEEN', 'TODAY -> TARGET', 'RESULT'],
          ...flips.map((flip) => flipRow(flip, trustDomain)),
        ],
        { right: [2], indent: 4 },
      );
    }
  }
  terminal.line();
  terminal.prose(
    approximate === 0
      ? 'Every result is exact.'
      : `${plural(accesses - approximate, 'result')} exact, ${approximate} approximate: ${reasons(result)}.`,
  );
  if (unprotected.length > 0) {
    const names = unprotected.map((id) => idName(id, trustDomain)).join(', ');
    terminal.prose(`Not protected by the target set, so everything stays allowed: ${names}.`);
  }
  if (leftOut.neverReached > 0) {
    terminal.prose(
      `Left out: ${plural(leftOut.neverReached, 'access', 'accesses')} that never reached the callee (failed or denied).`,
    );
  }
  if (leftOut.outside > 0) {
    terminal.prose(
      `Left out: ${plural(leftOut.outside, 'access', 'accesses')} to something that is no workload of the estate.`,
    );
  }
}

/** What is allowed today and ends within the first week: nobody should learn it from an alarm. */
function printEnding(terminal: Terminal, ending: readonly EndingAccess[], trustDomain: string): void {
  if (ending.length === 0) return;
  terminal.heading(
    `ENDS WITHIN A WEEK: ${plural(ending.length, 'access', 'accesses')} that only an exception allows`,
  );
  terminal.table(
    [
      ['FROM', 'TO', 'ACTION', 'CALLS', 'RULE', 'UNTIL'],
      ...ending.map(({ from, to, action, count, policy, rule, until }) => [
        nameOf(from, trustDomain),
        idName(to, trustDomain),
        actionCell(action),
        countText(count),
        `${policy}/${rule}`,
        until,
      ]),
    ],
    { right: [3], indent: 4 },
  );
}

function reasons({ flips }: Rehearsal): string {
  const seen = new Set(flips.flatMap((flip) => flip.approximate));
  const words = [...seen].map((why) => APPROXIMATIONS[why]);
  return words.length === 0 ? 'collapsed paths, unknown ports or conditions (see --json)' : words.join('; ');
}

function flipRow(flip: Flip, trustDomain: string): string[] {
  const { from, action, count, lastSeen, before, after, approximate } = flip;
  return [
    nameOf(from, trustDomain),
    actionCell(action),
    countText(count),
    dayText(lastSeen),
    `${verdictCell(before)} -> ${verdictCell(after)}`,
    approximate.length === 0 ? 'exact' : 'approx',
  ];
}

/** What decided, in a word or two; `allowed` where nothing is enforced. */
export function verdictCell({ decidedBy, rule }: Verdict): string {
  switch (decidedBy) {
    case 'no-policy':
      return 'allowed';
    case 'no-rule':
      return 'no rule';
    case 'unsafe-path':
      return 'unsafe path';
    default:
      return rule ?? decidedBy;
  }
}

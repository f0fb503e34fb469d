import { type Access, callsThatReached, principalText, VIEWS, type View } from '../../access/index.ts';
import { type CommandSpec, type CommonOptions, Option, principalOption } from '../command.ts';
import { EXIT } from '../exit.ts';
import { loadEstate } from '../state.ts';
import { printable } from '../terminal.ts';
import { accessJson, actionCell, countText, nameOf, plural, timeText } from '../words.ts';

interface Options extends CommonOptions {
  readonly from?: string;
  readonly to?: string;
  readonly view?: View;
}

/** `interlock access`: the accesses with their evidence. */
export const accessCommand: CommandSpec<Options> = {
  name: 'access',
  summary: 'List the accesses of the estate with their evidence.',
  options: [
    new Option('--from <id>', 'only this caller (SPIFFE ID, or unauthenticated:ADDRESS)').argParser(
      principalOption,
    ),
    new Option('--to <id>', 'only this callee').argParser(principalOption),
    new Option('--view <view>', 'only this view').choices(VIEWS),
  ],
  example: 'interlock access --to spiffe://example.org/ns/default/sa/cartservice',
  json: 'one object a line: {from, to, action: {kind, port, ...}, views, evidence: {count, firstSeen,\nlastSeen, days, hoursOfWeek, instances, sources, outcomes, mutual, plaintext, lost}, declared?, collapsed?}',
  async run({ terminal }, _args, options) {
    const { graph } = await loadEstate(options.state);
    const wanted = (access: Access) =>
      (options.from === undefined || principalText(access.from) === options.from) &&
      (options.to === undefined || principalText(access.to) === options.to) &&
      (options.view === undefined || access.views.includes(options.view));
    const found = graph.accesses.filter(wanted);
    if (options.json) {
      for (const access of found) {
        terminal.json(accessJson(access, graph));
        await terminal.drained();
      }
      return EXIT.done.code;
    }
    const { trustDomain } = graph;
    for (const [to, list] of Map.groupBy(found, (access) => nameOf(access.to, trustDomain))) {
      terminal.heading(`to ${printable(to)}`);
      terminal.table(
        [
          ['FROM', 'ACTION', 'VIEWS', 'CALLS', 'LAST SEEN'],
          ...list.map((access) => [
            nameOf(access.from, trustDomain),
            actionCell(access.action),
            access.views.join(' '),
            callsCell(access),
            timeText(access.evidence.lastSeen),
          ]),
        ],
        { right: [3] },
      );
    }
    terminal.line();
    terminal.line(`${plural(found.length, 'access', 'accesses')}. Names are of trust domain ${trustDomain}.`);
    if (options.view === 'possible' || options.view === 'authorized') {
      terminal.prose(`No recording feeds the view "${options.view}" yet.`);
    }
    return EXIT.done.code;
  },
};

function callsCell({ evidence }: Access): string {
  const reached = callsThatReached(evidence);
  let all = 0;
  for (const n of evidence.counts.values()) all += n;
  return all === reached ? countText(reached) : `${countText(reached)} of ${countText(all)}`;
}

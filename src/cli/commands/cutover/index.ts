import type { CommandSpec, CommonOptions } from '../../command.ts';
import { Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { shareOption } from '../../control/options.ts';
import { percentText } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import type { Terminal } from '../../terminal.ts';
import { plural } from '../../words.ts';

interface Shown {
  readonly id: string;
  readonly from?: string;
  readonly to?: string;
  readonly share?: number;
  readonly state: string;
  readonly progress?: {
    readonly atFrom: number;
    readonly atTo: number;
    readonly willMove: number;
    readonly willReturn: number;
    readonly staying: Readonly<Record<string, { readonly count: number; readonly ids: readonly string[] }>>;
  };
  readonly fromTrustDomain?: string;
  readonly toTrustDomain?: string;
}

/** Why workloads whose turn it is stay with the old authority. */
const STAYING: Readonly<Record<string, string>> = {
  agent: 'their agents are of an earlier version, which takes no ID of another trust domain',
  prefixes: 'the new authority may not speak for their paths',
  target: 'the new authority cannot sign now',
};

const JSON_SHAPE =
  '{id, from, to, fromTrustDomain, toTrustDomain, share, state, publishedIn, changedAt,\nprogress: {atFrom, atTo, willMove, willReturn, staying: {REASON: {count, ids}}}}';
const SHARE = () =>
  new Option('--share <share>', 'how many of the workloads: 10% or 0.1').argParser(shareOption);

interface StartOptions extends CommonOptions {
  readonly from: string;
  readonly to: string;
  readonly share: number;
}

const start: CommandSpec<StartOptions> = {
  name: 'cutover start',
  args: '<name>',
  summary:
    'Move workloads to another authority, each at its next renewal, once every connected agent has the bundle for it. A stable hash of the SPIFFE ID says which ones.',
  options: [
    new Option('--from <authority>', 'the name of the authority they have').default('default'),
    new Option('--to <authority>', 'the name of the one they get').makeOptionMandatory(),
    SHARE().makeOptionMandatory(),
  ],
  example: 'interlock cutover start to-region-b --to region-b --share 10%',
  json: JSON_SHAPE,
  async run({ terminal }, [id = ''], { state, json, from, to, share }) {
    const shown = await new Api(state).post<Shown>('/v1/cutovers', { id, from, to, share });
    const { fromTrustDomain, toTrustDomain } = shown;
    if (fromTrustDomain !== toTrustDomain && !json)
      terminal.prose(
        `IDs change from spiffe://${fromTrustDomain}/... to spiffe://${toTrustDomain}/...: for policies that name IDs, these are other principals. Let both in before a share moves.`,
      );
    return tell(terminal, [shown], json);
  },
};

interface ShareOptions extends CommonOptions {
  readonly share?: number;
}

function act(
  name: 'raise' | 'pause' | 'resume' | 'back' | 'finish',
  summary: string,
  options: readonly Option[],
  example: string,
): CommandSpec<ShareOptions> {
  return {
    name: `cutover ${name}`,
    args: '<name>',
    summary,
    options,
    example: `interlock cutover ${name} ${example}`,
    json: JSON_SHAPE,
    async run({ terminal }, [id = ''], { state, json, share }) {
      const path = `/v1/cutovers/${encodeURIComponent(id)}/${name}`;
      const shown = await new Api(state).post<Shown>(path, share === undefined ? {} : { share });
      return tell(terminal, [shown], json);
    },
  };
}

const status: CommandSpec<CommonOptions> = {
  name: 'cutover status',
  summary: 'Show who has moved, by the SVIDs that are live.',
  options: [],
  example: 'interlock cutover status',
  json: '{cutovers: [{id, from, to, share, state, publishedIn, changedAt, progress}]}',
  async run({ terminal }, _args, { state, json }) {
    const shown = await new Api(state).get<{ cutovers: Shown[] }>('/v1/cutovers');
    if (!json) return tell(terminal, shown.cutovers, json);
    terminal.json(shown);
    return EXIT.done.code;
  },
};

/** `interlock cutover ...`. */
export const CUTOVER_COMMANDS: readonly CommandSpec<never>[] = [
  start,
  status,
  act(
    'raise',
    'Move a larger share; nobody who moved moves back.',
    [SHARE().makeOptionMandatory()],
    'to-region-b --share 50%',
  ),
  act('pause', 'Leave everybody where they are.', [], 'to-region-b'),
  act('resume', 'Go on after a pause, or forward again after a turn.', [SHARE()], 'to-region-b'),
  act(
    'back',
    'Let workloads return, each at its next renewal: all, or until a share is left.',
    [SHARE()],
    'to-region-b',
  ),
  act('finish', 'End it once all have moved, or all have returned.', [], 'to-region-b'),
];

function tell(terminal: Terminal, cutovers: readonly Shown[], json: true | undefined): number {
  if (json) {
    for (const cutover of cutovers) terminal.json(cutover);
    return EXIT.done.code;
  }
  terminal.listing([
    ['CUTOVER', 'STATE', 'SHARE', 'AT THE OLD', 'AT THE NEW', 'WILL MOVE', 'WILL RETURN'],
    ...cutovers.map(({ id, from = '', to = '', share = 0, state, progress }) => [
      id,
      state,
      percentText(share),
      `${progress?.atFrom ?? 0} (${from})`,
      `${progress?.atTo ?? 0} (${to})`,
      String(progress?.willMove ?? 0),
      String(progress?.willReturn ?? 0),
    ]),
  ]);
  for (const { id, from = '', progress } of cutovers)
    for (const [reason, { count, ids }] of Object.entries(progress?.staying ?? {}))
      terminal.prose(
        `${id}: ${plural(count, 'SVID')} of ${from} ${count === 1 ? 'stays' : 'stay'}, since ${STAYING[reason] ?? reason}: ${ids.join(', ')}${count > ids.length ? ', ...' : ''}.`,
      );
  return EXIT.done.code;
}

import type { Received } from '../../../api/index.ts';
import type { CommandSpec } from '../../command.ts';
import { Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER, shareOption } from '../../control/options.ts';
import { percentText } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import type { Terminal } from '../../terminal.ts';
import { plural } from '../../words.ts';

type Shown = Received<'cutovers.list'>['cutovers'][number];

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

interface StartOptions extends ApiOptions {
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
    SERVER,
    new Option('--from <authority>', 'the name of the authority they have').default('default'),
    new Option('--to <authority>', 'the name of the one they get').makeOptionMandatory(),
    SHARE().makeOptionMandatory(),
  ],
  example: 'interlock cutover start to-region-b --to region-b --share 10%',
  json: JSON_SHAPE,
  async run({ terminal }, [id = ''], { state, server, json, from, to, share }) {
    const shown = await new Api({ state, server }).call('cutovers.start', { body: { id, from, to, share } });
    if (shown.state !== 'undone' && shown.fromTrustDomain !== shown.toTrustDomain && !json)
      terminal.prose(
        `IDs change from spiffe://${shown.fromTrustDomain}/... to spiffe://${shown.toTrustDomain}/...: for policies that name IDs, these are other principals. Let both in before a share moves.`,
      );
    return tell(terminal, [shown], json);
  },
};

interface ShareOptions extends ApiOptions {
  readonly share?: number;
}

type Act = (api: Api, params: { readonly id: string }, share: number | undefined) => Promise<Shown>;

const ACTS = {
  // Commander has seen to it that there is a share.
  raise: (api, params, share = 0) => api.call('cutovers.raise', { params, body: { share } }),
  pause: (api, params) => api.call('cutovers.pause', { params }),
  resume: (api, params, share) => api.call('cutovers.resume', { params, body: { share } }),
  back: (api, params, share) => api.call('cutovers.back', { params, body: { share } }),
  finish: (api, params) => api.call('cutovers.finish', { params }),
} as const satisfies Readonly<Record<string, Act>>;

function act(
  name: keyof typeof ACTS,
  summary: string,
  options: readonly Option[],
  example: string,
): CommandSpec<ShareOptions> {
  return {
    name: `cutover ${name}`,
    args: '<name>',
    summary,
    options: [SERVER, ...options],
    example: `interlock cutover ${name} ${example}`,
    json: JSON_SHAPE,
    async run({ terminal }, [id = ''], { state, server, json, share }) {
      const shown = await ACTS[name](new Api({ state, server }), { id }, share);
      return tell(terminal, [shown], json);
    },
  };
}

const status: CommandSpec<ApiOptions> = {
  name: 'cutover status',
  summary: 'Show who has moved, by the SVIDs that are live.',
  options: [SERVER],
  example: 'interlock cutover status',
  json: '{cutovers: [{id, from, to, share, state, publishedIn, changedAt, progress}]}',
  async run({ terminal }, _args, { state, server, json }) {
    const shown = await new Api({ state, server }).call('cutovers.list');
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
  // One that was turned back and has ended is no more: there is nothing to count.
  const there = cutovers.filter((each) => each.state !== 'undone');
  for (const { id, state } of cutovers)
    if (state === 'undone') terminal.prose(`${id} has ended: everybody is where they were before it.`);
  if (there.length < cutovers.length) return EXIT.done.code;
  terminal.listing([
    ['CUTOVER', 'STATE', 'SHARE', 'AT THE OLD', 'AT THE NEW', 'WILL MOVE', 'WILL RETURN'],
    ...there.map(({ id, from, to, share, state, progress }) => [
      id,
      state,
      percentText(share),
      `${progress?.atFrom ?? 0} (${from})`,
      `${progress?.atTo ?? 0} (${to})`,
      String(progress?.willMove ?? 0),
      String(progress?.willReturn ?? 0),
    ]),
  ]);
  for (const { id, from = '', progress } of there)
    for (const [reason, { count, ids }] of Object.entries(progress?.staying ?? {}))
      terminal.prose(
        `${id}: ${plural(count, 'SVID')} of ${from} ${count === 1 ? 'stays' : 'stay'}, since ${STAYING[reason] ?? reason}: ${ids.join(', ')}${count > ids.length ? ', ...' : ''}.`,
      );
  return EXIT.done.code;
}

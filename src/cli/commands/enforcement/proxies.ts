import { InterlockError } from '../../../access/index.ts';
import type { Received } from '../../../api/index.ts';
import type { CommandSpec } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { distanceText } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import { tellReleasedHere } from './released-here.ts';
import type { Terminal } from '../../terminal.ts';
import { plural } from '../../words.ts';

type PointShown = Received<'points.list'>['points'][number];
type UnreachedShown = Received<'unreached.list'>['unreached'];

const DAY_MS = 86_400_000;
/** Most rows of calls that did not arrive; `--json` has all. */
const MAX_SHOWN = 20;
const WHY = {
  owner: 'not its own call',
  untrusted: 'another one answered',
  unreachable: 'no answer',
} as const;

/** `interlock proxies`: the enforcement points. */
export const proxiesCommand: CommandSpec<ApiOptions> = {
  name: 'proxies',
  args: '[forget] [proxy]',
  summary:
    'List the proxies that enforce: which are connected, which have the newest state in force, which were released by hand on their machine, and calls that did not reach their peer. "proxies forget KEY" forgets one that is away and will not be back: nothing waits for it any more.',
  options: [SERVER],
  example: 'interlock proxies',
  json: '{points: [{key, kind, identity, instance, workloads: [ID], version, since, connected, unheard?, wanted, applied,\nappliedAt?, releasedHere?: [{workload?, reason, by, at, until?}],\nfault?: {code, message, at}}],\nunreached: [{from, peer, host, port, reason, detail, count, firstSeen, lastSeen}]} of the last day',
  async run({ terminal, now }, [act, key], { state, server, json }) {
    const api = new Api({ state, server });
    if (act !== undefined) {
      if (act !== 'forget' || key === undefined)
        throw new InterlockError(
          'usage',
          'proxies',
          'there is "proxies", and "proxies forget KEY" for one that is away',
        );
      const forgotten = await api.call('points.forget', { body: { key } });
      if (json) terminal.json(forgotten);
      else terminal.line(`Forgotten: ${forgotten.forgotten}`);
      return EXIT.done.code;
    }
    const { points } = await api.call('points.list');
    const since = now() - DAY_MS;
    const { unreached } = await api.call('unreached.list', { query: { since } });
    if (json) {
      terminal.json({ points, unreached });
      return EXIT.done.code;
    }
    if (points.length === 0) {
      terminal.line('No proxy has connected.');
      showUnreached(terminal, unreached, now());
      return EXIT.done.code;
    }
    terminal.listing([
      ['PROXY', 'KIND', 'STATE', 'SERVES', 'VERSION', 'SINCE'],
      ...points.map((point) => [
        point.key,
        point.kind,
        stateOf(point),
        String(point.workloads.length),
        point.version,
        distanceText(point.since, now()),
      ]),
    ]);
    const faults = points.flatMap(({ key, fault }) =>
      fault === undefined ? [] : [[key, fault.code, fault.message]],
    );
    if (faults.length > 0) {
      terminal.heading('Kept their last good state');
      terminal.listing([['PROXY', 'CODE', 'IT SAYS'], ...faults]);
    }
    showReleased(terminal, points, now());
    showUnreached(terminal, unreached, now());
    terminal.line();
    const connected = points.filter((point) => point.connected).length;
    terminal.line(`${plural(points.length, 'proxy', 'proxies')}, ${connected} connected.`);
    return EXIT.done.code;
  },
};

function showReleased(terminal: Terminal, points: readonly PointShown[], now: number): void {
  const rows = points.flatMap(({ key, releasedHere = [] }) =>
    releasedHere.map((release) => ({ proxy: key, ...release })),
  );
  if (rows.length > 0) tellReleasedHere(terminal, rows, now);
}

function showUnreached(terminal: Terminal, unreached: UnreachedShown, now: number): void {
  if (unreached.length === 0) return;
  terminal.heading('Calls that did not arrive, in the last day');
  terminal.listing([
    ['FROM', 'TO', 'AT', 'WHY', 'CALLS', 'LAST', 'OF THE LAST ONE'],
    ...unreached
      .slice(0, MAX_SHOWN)
      .map(({ from, peer, host, port, reason, count, lastSeen, detail }) => [
        from,
        peer,
        host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
        WHY[reason],
        String(count),
        distanceText(lastSeen, now),
        detail,
      ]),
  ]);
  if (unreached.length > MAX_SHOWN) terminal.line(`and ${unreached.length - MAX_SHOWN} more (--json)`);
}

function stateOf({ connected, unheard, wanted, applied, fault, releasedHere }: PointShown): string {
  if (unheard === true) return 'unknown: its control plane is not heard of';
  if (!connected) return releasedHere === undefined ? 'away' : 'away, released here';
  if (releasedHere !== undefined) return applied < wanted ? 'behind, released here' : 'released here';
  if (fault !== undefined && applied < wanted) return 'refused the newest';
  return applied < wanted ? 'behind' : 'up to date';
}

import type { CommandSpec, CommonOptions } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { distanceText } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import { plural } from '../../words.ts';

interface PointShown {
  readonly key: string;
  readonly kind: string;
  readonly workloads: readonly string[];
  readonly version: string;
  readonly since: number;
  readonly connected: boolean;
  readonly wanted: number;
  readonly applied: number;
  readonly fault?: { readonly code: string; readonly message: string; readonly at: number };
}

/** `interlock proxies`: the enforcement points. */
export const proxiesCommand: CommandSpec<CommonOptions> = {
  name: 'proxies',
  summary: 'List the proxies that enforce: which are connected, and which have the newest state in force.',
  options: [],
  example: 'interlock proxies',
  json: '{points: [{key, kind, identity, instance, workloads: [ID], version, since, connected, wanted, applied,\nappliedAt?, fault?: {code, message, at}}]}',
  async run({ terminal, now }, _args, { state, json }) {
    const shown = await new Api(state).get<{ points: PointShown[] }>('/v1/points');
    if (json) {
      terminal.json(shown);
      return EXIT.done.code;
    }
    const { points } = shown;
    if (points.length === 0) {
      terminal.line('No proxy has connected.');
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
    terminal.line();
    const connected = points.filter((point) => point.connected).length;
    terminal.line(`${plural(points.length, 'proxy', 'proxies')}, ${connected} connected.`);
    return EXIT.done.code;
  },
};

function stateOf({ connected, wanted, applied, fault }: PointShown): string {
  if (!connected) return 'away';
  if (fault !== undefined && applied < wanted) return 'refused the newest';
  return applied < wanted ? 'behind' : 'up to date';
}

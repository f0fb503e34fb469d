import { type CommandSpec, InvalidArgumentError, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';
import { timeText } from '../../words.ts';

interface Options extends ApiOptions {
  readonly from: number;
  readonly limit: number;
  readonly verify?: true;
}

/** `interlock authority audit`: what was done, and whether the log is whole. */
export const authorityAuditCommand: CommandSpec<Options> = {
  name: 'authority audit',
  summary: 'Show the audit log, or verify that no entry was changed, taken out or cut off.',
  options: [
    SERVER,
    new Option('--from <n>', 'first entry').argParser(numberOption).default(1),
    new Option('--limit <n>', 'how many entries').argParser(numberOption).default(1000),
    new Option('--verify', 'check the chain of hashes to its end; exits with 3 where it is broken'),
  ],
  example: 'interlock authority audit --verify',
  json: 'one entry a line: {seq, at, who, act, what, details, previous, hash}; with --verify {isWhole, fault?: {seq, reason}}',
  async run({ terminal }, _args, { state, server, json, from, limit, verify }) {
    const api = new Api({ state, server });
    if (verify === true) {
      const result = await api.call('audit.verify', { query: { from } });
      if (json) terminal.json(result);
      else if (result.fault === undefined) terminal.line('The audit log is whole.');
      else
        terminal.line(`The audit log is broken at entry ${result.fault.seq}: it is ${result.fault.reason}.`);
      return result.isWhole ? EXIT.done.code : EXIT.found.code;
    }
    const { entries } = await api.call('audit.list', { query: { after: from - 1, limit } });
    if (json) for (const entry of entries) terminal.json(entry);
    else
      terminal.listing(
        [
          ['ENTRY', 'TIME', 'WHO', 'DID', 'TO', 'WHY'],
          ...entries.map(({ seq, at, who, act, what, details }) => [
            String(seq),
            timeText(at),
            who,
            act,
            what,
            reasonIn(details),
          ]),
        ],
        { right: [0] },
      );
    return EXIT.done.code;
  },
};

/** The reason that whoever did it gave, or the control plane itself; empty where there is none. */
function reasonIn(details: unknown): string {
  if (typeof details !== 'object' || details === null) return '';
  const why: unknown = 'why' in details ? details.why : 'reason' in details ? details.reason : '';
  return typeof why === 'string' ? why : '';
}

function numberOption(text: string): number {
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('a whole number from 1 is needed');
}

import { type CommandSpec, type CommonOptions, InvalidArgumentError, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { EXIT } from '../../exit.ts';
import { timeText } from '../../words.ts';

interface Entry {
  readonly seq: number;
  readonly at: number;
  readonly who: string;
  readonly act: string;
  readonly what: string;
  readonly details: unknown;
  readonly previous: string;
  readonly hash: string;
}

interface Options extends CommonOptions {
  readonly from: number;
  readonly limit: number;
  readonly verify?: true;
}

/** `interlock authority audit`: what was done, and whether the log is whole. */
export const authorityAuditCommand: CommandSpec<Options> = {
  name: 'authority audit',
  summary: 'Show the audit log, or verify that no entry was changed, taken out or cut off.',
  options: [
    new Option('--from <n>', 'first entry').argParser(numberOption).default(1),
    new Option('--limit <n>', 'how many entries').argParser(numberOption).default(1000),
    new Option('--verify', 'check the chain of hashes to its end; exits with 3 where it is broken'),
  ],
  example: 'interlock authority audit --verify',
  json: 'one entry a line: {seq, at, who, act, what, details, previous, hash}; with --verify {isWhole, fault?: {seq, reason}}',
  async run({ terminal }, _args, { state, json, from, limit, verify }) {
    const api = new Api(state);
    if (verify === true) {
      const result = await api.get<{ isWhole: boolean; fault?: { seq: number; reason: string } }>(
        '/v1/audit/verify',
        {
          from: String(from),
        },
      );
      if (json) terminal.json(result);
      else if (result.fault === undefined) terminal.line('The audit log is whole.');
      else
        terminal.line(`The audit log is broken at entry ${result.fault.seq}: it is ${result.fault.reason}.`);
      return result.isWhole ? EXIT.done.code : EXIT.found.code;
    }
    const query = { from: String(from), limit: String(limit) };
    const { entries } = await api.get<{ entries: Entry[] }>('/v1/audit', query);
    if (json) for (const entry of entries) terminal.json(entry);
    else
      terminal.listing(
        [
          ['ENTRY', 'TIME', 'WHO', 'DID', 'TO'],
          ...entries.map(({ seq, at, who, act, what }) => [String(seq), timeText(at), who, act, what]),
        ],
        { right: [0] },
      );
    return EXIT.done.code;
  },
};

function numberOption(text: string): number {
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('a whole number from 1 is needed');
}

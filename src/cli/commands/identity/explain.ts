import { InterlockError } from '../../../access/index.ts';
import { type CommandSpec, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';
import { readText } from '../../files.ts';

interface Options extends ApiOptions {
  readonly agent?: string;
  readonly rules?: string;
}

/** `interlock identity explain`: why a workload gets the identities it gets. */
export const identityExplainCommand: CommandSpec<Options> = {
  name: 'identity explain',
  args: '<attributes>',
  summary:
    'Say for every rule what it gives to a workload with these attributes (a JSON file, as the agent logs them for a process that gets no identity), or which condition fails and what it met. Exits with 3 where the workload gets nothing.',
  options: [
    SERVER,
    new Option('--agent <id>', 'as asked by this agent'),
    new Option('--rules <file>', 'try these rules in place of those in force'),
  ],
  example: `interlock identity explain workload.json
  where workload.json holds {"unix": {"uid": 1000, "gid": 1000, "groups": []}}`,
  json: '{rules: [{rule, identity?: {spiffeId, ttl, ...}, condition?, reason?}]}',
  async run({ terminal }, [file = ''], { state, server, json, agent, rules }) {
    const yaml = rules === undefined ? undefined : readText(rules);
    const body = { attributes: jsonOf(file), agent, yaml };
    const explained = await new Api({ state, server }).call('rules.explain', { body });
    const gets = explained.rules.some(
      ({ identity, reason }) => identity !== undefined && reason === undefined,
    );
    if (json) terminal.json(explained);
    else {
      for (const { rule, identity, condition, reason } of explained.rules) {
        terminal.heading(rule);
        if (reason === undefined) terminal.prose(`gives ${identity?.spiffeId}`, 2);
        else terminal.prose(`gives nothing${condition === undefined ? '' : ` (${condition})`}: ${reason}`, 2);
      }
      terminal.line();
      terminal.line(gets ? 'The workload gets the identities above.' : 'The workload gets no identity.');
    }
    return gets ? EXIT.done.code : EXIT.found.code;
  },
};

function jsonOf(file: string): Readonly<Record<string, unknown>> {
  try {
    // What is no object is refused by the API, which says what it should be.
    return JSON.parse(readText(file)) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    if (cause instanceof InterlockError) throw cause;
    throw new InterlockError('invalid_document', file, `${file} is not JSON`, { cause });
  }
}

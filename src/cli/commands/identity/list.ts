import type { Received } from '../../../api/index.ts';
import { type CommandSpec, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { distanceText, shortId } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import { plural } from '../../words.ts';

type Svid = Received<'identities.list'>['identities'][number];

interface Options extends ApiOptions {
  readonly id?: string;
  readonly agent?: string;
  readonly authority?: string;
  readonly rule?: string;
  readonly kind?: string;
  readonly all?: true;
}

/** `interlock identity list`: which identities are live, where, and from which authority. */
export const identityListCommand: CommandSpec<Options> = {
  name: 'identity list',
  summary:
    'List the identities that are live: where each is held, until when, and which authority signed it.',
  options: [
    SERVER,
    new Option('--id <id>', 'only this SPIFFE ID, or those that begin with it where it ends in "*"'),
    new Option('--agent <id>', 'only those held through this agent'),
    new Option('--authority <id>', 'only those that this authority signed'),
    new Option('--rule <name>', 'only those that this rule gave'),
    new Option('--kind <kind>', 'only this kind').choices([
      'workload',
      'agent',
      'authority',
      'server',
      'jwt',
    ]),
    new Option('--all', 'also those that were replaced, dropped, revoked or have expired within a day'),
  ],
  example: 'interlock identity list --id "spiffe://example.org/ns/shop/*"',
  json: 'one a line: {serial, kind, spiffeId, agent, rule, authority, authorityName?, issuedAt, notAfter,\nreplacedBy?, droppedAt?, revokedAt?}',
  async run({ terminal, now }, _args, { state, server, json, all, id, agent, authority, rule, kind }) {
    const found = await everything(new Api({ state, server }), {
      id,
      agent,
      authority,
      rule,
      kind,
      all: all ? 'true' : 'false',
    });
    if (json) {
      for (const svid of found) terminal.json(svid);
      return EXIT.done.code;
    }
    found.sort((a, b) => (a.spiffeId < b.spiffeId ? -1 : Number(a.spiffeId > b.spiffeId)));
    terminal.listing([
      ['IDENTITY', 'KIND', 'HELD BY', 'AUTHORITY', 'ENDS'],
      ...found.map((svid) => [
        svid.spiffeId,
        kindOf(svid),
        svid.agent.replace(/^spiffe:\/\/[^/]+.*\/interlock\/agent\//, '') || '-',
        `${svid.authorityName ?? '?'} ${shortId(svid.authority)}`,
        distanceText(svid.notAfter, now()),
      ]),
    ]);
    terminal.line();
    terminal.line(`${plural(found.length, 'identity', 'identities')}.`);
    return EXIT.done.code;
  },
};

function kindOf({ kind, revokedAt, replacedBy, droppedAt }: Svid): string {
  if (revokedAt !== undefined) return `${kind}, revoked`;
  if (replacedBy !== undefined) return `${kind}, replaced`;
  return droppedAt === undefined ? kind : `${kind}, dropped`;
}

async function everything(api: Api, query: Record<string, string | undefined>): Promise<Svid[]> {
  const found: Svid[] = [];
  for (let after: string | undefined; ; ) {
    const page = await api.call('identities.list', { query: { ...query, after, limit: 5000 } });
    found.push(...page.identities);
    if (page.next === undefined) return found;
    after = page.next;
  }
}

import { InterlockError, parseSpiffeId } from '../../../access/index.ts';
import { type CommandSpec, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';
import { plural, timeText } from '../../words.ts';

interface Options extends ApiOptions {
  readonly reason: string;
}

/** `interlock identity revoke`: one identity, or one certificate. */
export const identityRevokeCommand: CommandSpec<Options> = {
  name: 'identity revoke',
  args: '<id-or-serial>',
  summary:
    'Revoke an identity: its certificates are on the CRLs that agents get at once, and nothing is issued for it until it is allowed again. With a serial number, revoke that certificate alone.',
  options: [
    SERVER,
    new Option(
      '--reason <words>',
      'for the audit log; a word of RFC 5280 such as keyCompromise also goes into the CRL',
    ).default('unspecified'),
  ],
  example: 'interlock identity revoke spiffe://example.org/ns/shop/sa/cart --reason keyCompromise',
  json: '{certificates: number revoked}',
  async run({ terminal }, [what = ''], { state, server, json, reason }) {
    const done = await new Api({ state, server }).call('revocations.make', {
      body: { ...target(what), reason },
    });
    if (json) terminal.json(done);
    else if (!what.startsWith('spiffe://')) terminal.line(`Revoked: the certificate ${what}.`);
    else {
      terminal.prose(`Revoked, with ${plural(done.certificates, 'certificate')}: ${what}`);
      if (done.certificates === 0)
        terminal.remark(
          `warning: nobody has ${what} now (0 live SVIDs). It is revoked for the future all the same; if it is mistyped, take that back with "interlock identity allow".`,
        );
    }
    return EXIT.done.code;
  },
};

/** `interlock identity allow`: ends a revocation. */
export const identityAllowCommand: CommandSpec<ApiOptions> = {
  name: 'identity allow',
  args: '<id>',
  summary: 'Let a revoked identity have new SVIDs again. Its revoked certificates stay revoked.',
  options: [SERVER],
  example: 'interlock identity allow spiffe://example.org/ns/shop/sa/cart',
  json: '{allowed: id}',
  async run({ terminal }, [id = ''], { state, server, json }) {
    const done = await new Api({ state, server }).call('revocations.end', { params: { spiffeId: id } });
    if (json) terminal.json(done);
    else terminal.line(`Allowed again: ${done.allowed}.`);
    return EXIT.done.code;
  },
};

/** `interlock identity revoked`: what is revoked. */
export const identityRevokedCommand: CommandSpec<ApiOptions> = {
  name: 'identity revoked',
  summary: 'List what is revoked: identities, and certificates that have not expired.',
  options: [SERVER],
  example: 'interlock identity revoked',
  json: '{revoked: [{what: "id" or "serial", value, authority, reason, at, until?}]}',
  async run({ terminal }, _args, { state, server, json }) {
    const shown = await new Api({ state, server }).call('revocations.list');
    if (json) terminal.json(shown);
    else {
      const rows = shown.revoked.map(({ what, value, reason, at }) => [
        value,
        what === 'id' ? 'identity' : 'certificate',
        reason,
        timeText(at),
      ]);
      terminal.listing([['REVOKED', 'KIND', 'REASON', 'SINCE'], ...rows]);
    }
    return EXIT.done.code;
  },
};

function target(text: string): { spiffeId: string } | { serial: string } {
  if (text.startsWith('spiffe://')) return { spiffeId: parseSpiffeId(text) };
  if (/^[0-9a-fA-F]{2,40}$/.test(text)) return { serial: text.toLowerCase() };
  throw new InterlockError('usage', text, `"${text}" is neither a SPIFFE ID nor a serial number in hex`);
}

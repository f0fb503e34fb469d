import { readFileSync } from 'node:fs';
import type { CommandSpec } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { timeAndDistance } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import { ioError } from '../../files.ts';

/** `interlock identity verify`: what a certificate proves, or why it is refused. */
export const identityVerifyCommand: CommandSpec<ApiOptions> = {
  name: 'identity verify',
  args: '<file>',
  summary:
    'Say what a certificate (PEM, with its intermediates behind it) proves to this trust domain, or why it is refused. Exits with 3 where it is.',
  options: [SERVER],
  example: 'interlock identity verify svid.pem',
  json: '{isValid, spiffeId?, serial?, via?: [subject], expiresAt?, fault?, reason?}',
  async run({ terminal, now }, [file = ''], { state, server, json }) {
    let pem: string;
    try {
      pem = readFileSync(file, 'utf8').slice(0, 1_000_000);
    } catch (cause) {
      throw ioError(file, cause);
    }
    const verdict = await new Api({ state, server }).call('identities.verify', { body: { pem } });
    if (json) terminal.json(verdict);
    else if (verdict.isValid) {
      terminal.line(
        `It proves ${verdict.spiffeId}, until ${timeAndDistance(verdict.expiresAt ?? 0, now())}.`,
      );
      terminal.prose(`Serial ${verdict.serial}, by way of ${verdict.via?.join('; ')}.`);
    } else terminal.prose(`It is refused (${verdict.fault}): ${verdict.reason}`);
    return verdict.isValid ? EXIT.done.code : EXIT.found.code;
  },
};

import { type CommandSpec, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';

interface Options extends ApiOptions {
  readonly format: 'pem' | 'spiffe';
}

/** `interlock authority bundle`: what others need to verify this trust domain. */
export const authorityBundleCommand: CommandSpec<Options> = {
  name: 'authority bundle',
  summary: "Print the trust domain's bundle: as PEM for curl and openssl, or as the SPIFFE document.",
  options: [
    SERVER,
    new Option('--format <format>', 'pem or spiffe').choices(['pem', 'spiffe']).default('pem'),
  ],
  example: 'interlock authority bundle > bundle.pem',
  json: '{document: the SPIFFE bundle as text, pem}',
  async run({ terminal }, _args, { state, server, json, format }) {
    const bundle = await new Api({ state, server }).call('bundle.get');
    if (json) terminal.json(bundle);
    else terminal.out.write(format === 'pem' ? bundle.pem : `${bundle.document}\n`);
    return EXIT.done.code;
  },
};

import { type CommandSpec, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { shortId } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import { type JoinTokenOptions, joinTokenOf, joinTokenOptions } from '../../join-token.ts';

interface Options extends ApiOptions, JoinTokenOptions {
  readonly name: string;
  readonly parent: string;
}

const NAME = () => new Option('--name <name>', 'what the authority is called here').makeOptionMandatory();

/** `interlock authority join`: an authority that another control plane certifies, for a cutover to it. */
export const authorityJoinCommand: CommandSpec<Options> = {
  name: 'authority join',
  summary:
    'Get an authority from another control plane, of another region or trust domain, under a name: "cutover start" then moves workloads to it.',
  options: [
    SERVER,
    NAME(),
    new Option('--parent <host:port>', 'the other control plane').makeOptionMandatory(),
    ...joinTokenOptions('the first time: from "interlock authority token" there'),
  ],
  example: 'interlock authority join --name region-b --parent b.example:8443 --join-token-file b.token',
  json: 'the authority: {id, name, trustDomain, state, algorithm, notBefore, notAfter, prefixes?, ...}',
  async run({ terminal }, _args, options) {
    const { state, server, json, name, parent: address } = options;
    const joinToken = joinTokenOf(options)?.();
    const body = { name, address, ...(joinToken === undefined ? {} : { joinToken }) };
    const shown = await new Api({ state, server }).call('authorities.join', { body });
    if (json) {
      terminal.json(shown);
      return EXIT.done.code;
    }
    const limits = shown.prefixes === undefined ? '' : `; it may speak for ${shown.prefixes.join(', ')} only`;
    terminal.prose(
      `Authority ${shortId(shown.id)} ("${shown.name}") of trust domain ${shown.trustDomain}${limits}. Nothing moves to it before "interlock cutover start".`,
    );
    return EXIT.done.code;
  },
};

/** `interlock authority leave`: takes such an authority away. */
export const authorityLeaveCommand: CommandSpec<ApiOptions & { readonly name: string }> = {
  name: 'authority leave',
  summary:
    'Give up an authority of another control plane, with its keys. Refused while a cutover names it, or SVIDs of it are live.',
  options: [SERVER, NAME()],
  example: 'interlock authority leave --name region-b',
  json: '{left}',
  async run({ terminal }, _args, { state, server, json, name }) {
    const left = await new Api({ state, server }).call('authorities.leave', { body: { name } });
    if (json) terminal.json(left);
    else terminal.line(`The authority "${name}" is given up.`);
    return EXIT.done.code;
  },
};

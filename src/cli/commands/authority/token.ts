import { type CommandSpec, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER, attributeOption, durationOption } from '../../control/options.ts';
import { timeAndDistance } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';

interface Options extends ApiOptions {
  readonly ttl: number;
  readonly attribute?: Readonly<Record<string, string>>;
}

/** `interlock authority token`: lets one node become an agent. */
export const authorityTokenCommand: CommandSpec<Options> = {
  name: 'authority token',
  args: '<agent>',
  summary:
    'Make a join token, by which one node becomes the agent of this name, once. It is printed now and never again.',
  options: [
    SERVER,
    new Option('--ttl <duration>', 'how long it may be used')
      .argParser(durationOption)
      .default(600_000, '10m'),
    new Option(
      '--attribute <key=value>',
      'what rules see as claims.KEY of the agent; may be repeated',
    ).argParser(attributeOption),
  ],
  example: 'interlock authority token node-1 --ttl 10m',
  json: '{token, expiresAt}',
  async run({ terminal, now }, [agent = ''], { state, server, json, ttl, attribute = {} }) {
    const body = { agent, ttlMs: ttl, attributes: attribute };
    const made = await new Api({ state, server }).call('join-tokens.make', { body });
    if (json) terminal.json(made);
    else {
      // The token alone goes to the output, for TOKEN=$(...).
      terminal.line(made.token);
      terminal.err.write(`Good once, until ${timeAndDistance(made.expiresAt, now())}.\n`);
    }
    return EXIT.done.code;
  },
};

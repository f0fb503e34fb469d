import { InterlockError } from '../../access/index.ts';
import type { CommandSpec, CommonOptions } from '../command.ts';
import { Api } from '../control/api.ts';
import { type ApiOptions, SERVER } from '../control/options.ts';
import { distanceText } from '../control/words.ts';
import { EXIT } from '../exit.ts';
import { plural } from '../words.ts';

const list: CommandSpec<ApiOptions> = {
  name: 'notifications list',
  summary: 'List the channels that people are told by: how each has fared, and what waits for it.',
  options: [SERVER],
  example: 'interlock notifications list',
  json: '{channels: [{name, kind, host, on, only, waiting, sent, dropped, gaveUp, failures, fault?, lastSentAt?, failingSince?}],\nmessages: [{id, channel, type, count, at, attempts, notBefore, summary}]}',
  async run({ terminal, now }, _args, { state, server, json }) {
    const shown = await new Api({ state, server }).call('notifications.list');
    if (json) {
      terminal.json(shown);
      return EXIT.done.code;
    }
    if (shown.channels.length === 0) {
      terminal.line('No channel: interlock up --notify FILE (docs/notifications.md)');
      return EXIT.done.code;
    }
    terminal.listing([
      ['CHANNEL', 'KIND', 'HOST', 'SENT', 'WAITING', 'LOST', 'LAST', 'FAULT'],
      ...shown.channels.map((channel) => [
        channel.name,
        channel.kind,
        channel.host,
        String(channel.sent),
        String(channel.waiting),
        String(channel.dropped + channel.gaveUp),
        channel.lastSentAt === undefined ? '-' : distanceText(channel.lastSentAt, now()),
        channel.fault === undefined ? '-' : `${channel.fault} (${plural(channel.failures, 'attempt')})`,
      ]),
    ]);
    if (shown.messages.length === 0) return EXIT.done.code;
    terminal.line('');
    terminal.listing([
      ['WAITS', 'FOR', 'ATTEMPTS', 'NEXT', 'ABOUT'],
      ...shown.messages.map(({ channel, at, attempts, notBefore, summary }) => [
        distanceText(at, now()),
        channel,
        String(attempts),
        notBefore <= now() ? 'now' : distanceText(notBefore, now()),
        summary,
      ]),
    ]);
    return EXIT.done.code;
  },
};

const test: CommandSpec<ApiOptions> = {
  name: 'notifications test',
  args: '<channel>',
  summary: 'Send a test to a channel, now and once, and say what came of it.',
  options: [SERVER],
  example: 'interlock notifications test ops',
  json: '{channel, isDelivered, fault?}',
  async run({ terminal }, [channel = ''], { state, server, json }) {
    const params = { channel };
    const tested = await new Api({ state, server }).call('notifications.test', { params });
    if (json) terminal.json(tested);
    else if (tested.isDelivered) terminal.line(`${channel} has taken a test.`);
    else throw new InterlockError('unavailable', channel, `${channel}: ${tested.fault ?? 'not delivered'}`);
    return tested.isDelivered ? EXIT.done.code : EXIT.failed.code;
  },
};

const secret: CommandSpec<CommonOptions> = {
  name: 'notifications secret',
  summary:
    'Make a secret for a webhook: put it into the file of its "secretFile", for its owner alone, and give it to the receiver.',
  options: [],
  example: 'interlock notifications secret | install -m 600 /dev/stdin ops-secret',
  json: '{secret}',
  async run({ terminal }, _args, { json }) {
    const { newSecret } = await import('../../server/index.ts');
    const made = newSecret();
    if (json) terminal.json({ secret: made });
    else terminal.line(made);
    return EXIT.done.code;
  },
};

/** `interlock notifications ...`. */
export const NOTIFICATION_COMMANDS: readonly CommandSpec<never>[] = [list, test, secret];

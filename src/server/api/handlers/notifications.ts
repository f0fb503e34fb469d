import { InterlockError } from '../../../access/index.ts';
import type { Handlers } from '../handler.ts';
import type { ApiParts } from '../parts.ts';

/** Channels that people are told by, and what waits for them. */
export function notificationHandlers({
  notifier,
}: ApiParts): Handlers<'notifications.list' | 'notifications.test'> {
  return {
    'notifications.list': async () => (await notifier?.list()) ?? { channels: [], messages: [] },
    'notifications.test': ({ who, params: { channel } }) => {
      if (notifier !== undefined) return notifier.test(who, channel);
      throw new InterlockError(
        'not_found',
        channel,
        'no channel is set up: start the control plane with --notify (docs/notifications.md)',
      );
    },
  };
}

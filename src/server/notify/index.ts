export { type NotifyConfig, notifyConfigFrom } from './config.ts';
export type { Outcome } from './channel.ts';
export { Notifier, sendTest } from './notifier.ts';
export { newSecret } from './sign.ts';
export { startNotifier } from './start.ts';

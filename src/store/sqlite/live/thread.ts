import { parentPort, workerData } from 'node:worker_threads';
import { absorbTally, isInterlockError, Tally } from '../../../access/index.ts';
import { collectGarbage } from '../../../system/index.ts';
import { TRUST_DOMAIN_SETTING } from '../../settings.ts';
import { stateFailure } from '../failures.ts';
import type { SentError } from '../identity/messages.ts';
import { openSqliteStore } from '../open.ts';
import type { FromLiveThread, LiveStart, ToLiveThread } from './messages.ts';
import { seenAccesses } from '../../seen.ts';

/** The thread that keeps live evidence: streams never wait for the disk. */
const port = parentPort;
if (port === null) throw new TypeError('thread.ts runs as a worker thread');
// workerData is the LiveStart that live-store.ts gave.
const { dir, trustDomain, options, load } = workerData as LiveStart;
const post = (message: FromLiveThread) => port.postMessage(message);

try {
  const store = openSqliteStore(dir, { ...options, create: true });
  // Written only where it is another one: a full disk must not keep the control plane from starting.
  if ((await store.setting(TRUST_DOMAIN_SETTING)) !== trustDomain)
    await store.setSetting(TRUST_DOMAIN_SETTING, trustDomain);
  port.on('message', async (message: ToLiveThread) => {
    if ('close' in message) {
      await store.close();
      port.close();
      return;
    }
    try {
      const tallies = message.tallies.map(({ source, data }) => {
        const tally = new Tally(source);
        absorbTally(tally, data);
        return tally;
      });
      post({ kind: 'done', known: await store.addLive(message.batch, tallies) });
    } catch (error) {
      post({ kind: 'error', error: sent(error) });
    }
  });
  const kept = load ? await store.live() : { marks: [], flips: [], plaintext: [] };
  post({ kind: 'ready', kept, seen: load ? await seenAccesses(store, trustDomain) : [] });
  // What was read to be handed over is as much as the estate, and a thread that has little to do would keep it for ever.
  if (load) setImmediate(collectGarbage);
} catch (error) {
  post({ kind: 'failed', error: sent(error) });
  port.close();
}

function sent(error: unknown): SentError {
  const failure = stateFailure(dir, error);
  return isInterlockError(failure)
    ? { code: failure.code, subject: failure.subject, message: failure.message }
    : { subject: dir, message: failure.message };
}

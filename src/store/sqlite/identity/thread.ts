import type { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { isInterlockError } from '../../../access/index.ts';
import type { FromThread, Outcome, SentError, Start, ToThread } from './messages.ts';
import { damagedIdentity, identityFailure, openIdentityDatabase } from './open.ts';
import { type Call, operationsOn } from './operations.ts';

/** The thread that holds the database: a slow disk stops it, and not the control plane. */
const port = parentPort;
if (port === null) throw new TypeError('thread.ts runs as a worker thread');
// workerData is the Start that identity-store.ts gave.
const { dir, options } = workerData as Start;
const post = (message: FromThread) => port.postMessage(message);

try {
  const db = openIdentityDatabase(dir, options);
  const operations = operationsOn(db);
  port.on('message', (message: ToThread) => {
    if ('close' in message) {
      db.close();
      port.close();
      return;
    }
    post({ kind: 'outcomes', outcomes: runAll(db, operations, message.calls) });
  });
  post({ kind: 'ready' });
} catch (error) {
  post({ kind: 'failed', error: sent(error) });
}

/** Group commit: one transaction and one fsync for all calls that had gathered. */
function runAll(
  db: DatabaseSync,
  operations: ReturnType<typeof operationsOn>,
  calls: readonly Call[],
): Outcome[] {
  try {
    db.exec('BEGIN IMMEDIATE');
    const outcomes = calls.map((call) => runOne(db, operations, call));
    db.exec('COMMIT');
    return outcomes;
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    return calls.map(() => ({ error: sent(error) }));
  }
}

function runOne(db: DatabaseSync, operations: ReturnType<typeof operationsOn>, call: Call): Outcome {
  db.exec('SAVEPOINT one');
  try {
    // The row of the table that `operation` names takes just these arguments.
    const run = operations[call.operation] as (...args: unknown[]) => unknown;
    const value = run(...call.args);
    db.exec('RELEASE one');
    return { value };
  } catch (error) {
    // A full disk may have ended the whole transaction (sqlite.org/lang_transaction.html, section 3): all fail then.
    if (!db.isTransaction) throw error;
    db.exec('ROLLBACK TO one');
    db.exec('RELEASE one');
    return { error: sent(error) };
  }
}

function sent(error: unknown): SentError {
  const broken = error instanceof SyntaxError || error instanceof RangeError;
  const failure = broken ? damagedIdentity(dir, error) : identityFailure(dir, error);
  return isInterlockError(failure)
    ? { code: failure.code, subject: failure.subject, message: failure.message }
    : { subject: dir, message: failure.message };
}

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InterlockError } from '../access/index.ts';

/** Says, in a state directory, that the state is in a database: nobody starts another one beside it by mistake. */
const DATABASE_FILE = 'database';
const MAX_NAME = 1000;

/** Notes that the state of a directory is in a database, by the name that people know it by. Throws what the file system throws. */
export function noteDatabase(dir: string, name: string): void {
  writeFileSync(join(dir, DATABASE_FILE), `${name}\n`, { mode: 0o600 });
}

/** Throws `state` where the state of a directory is in a database. */
export function assertHere(dir: string): void {
  let name: string;
  try {
    name = readFileSync(join(dir, DATABASE_FILE), 'utf8').trim().slice(0, MAX_NAME);
  } catch {
    return;
  }
  throw new InterlockError(
    'state',
    dir,
    `the state of ${dir} is in the database ${name}: start its control plane with --database, and ask it by the API (--server, or --state where a command has no --server); files of your own go to another --state`,
  );
}

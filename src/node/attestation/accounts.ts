import { statSync } from 'node:fs';
import { readSmall, unreadable } from './files.ts';

const MAX_FILE_BYTES = 16 * 1024 * 1024;
const MAX_ENTRIES = 200_000;
/** What useradd(8) and groupadd(8) allow, and what directories add: a name never ends a field or a line. */
const NAME = /^[^:\s]{1,256}$/;

interface Table {
  readonly version: string;
  readonly names: ReadonlyMap<number, string>;
}

/** The names of users and groups, of passwd(5) and group(5), read again when the files have changed. */
export class Accounts {
  readonly #passwd: string;
  readonly #group: string;
  readonly #tables = new Map<string, Table>();

  constructor(etc = '/etc') {
    this.#passwd = `${etc}/passwd`;
    this.#group = `${etc}/group`;
  }

  /** The user's name, or undefined where the file has none. Throws when the file cannot be read. */
  user(uid: number): string | undefined {
    return this.#table(this.#passwd).names.get(uid);
  }

  /** The group's name, or undefined where the file has none. Throws when the file cannot be read. */
  group(gid: number): string | undefined {
    return this.#table(this.#group).names.get(gid);
  }

  #table(path: string): Table {
    const version = versionOf(path);
    const known = this.#tables.get(path);
    if (known?.version === version) return known;
    const table = { version, names: parseAccounts(readSmall(path, MAX_FILE_BYTES)) };
    this.#tables.set(path, table);
    return table;
  }
}

/** Number -> name of a passwd or group file; of two names for a number the first counts, as in getpwuid(3). */
export function parseAccounts(text: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const line of text.split('\n')) {
    const [name = '', , number = ''] = line.split(':', 3);
    if (!NAME.test(name) || !/^\d{1,10}$/.test(number) || names.has(Number(number))) continue;
    if (names.size >= MAX_ENTRIES) break;
    names.set(Number(number), name);
  }
  return names;
}

function versionOf(path: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

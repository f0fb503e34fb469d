import { readFileSync } from 'node:fs';
import { InterlockError } from '../../access/index.ts';
import type { Owner } from './file-set.ts';

/** Highest id that Linux takes: 2^32 - 1 means "leave it" (chown(2)). */
const MAX_ID = 4_294_967_294;

/** Where names of users and groups are looked up. */
export interface NameFiles {
  readonly passwd: () => string;
  readonly group: () => string;
}

const SYSTEM: NameFiles = {
  passwd: () => readFileSync('/etc/passwd', 'utf8'),
  group: () => readFileSync('/etc/group', 'utf8'),
};

/**
 * Reads `USER`, `USER:GROUP` or `:GROUP`, names or numbers; a user's own group where none is given. Names are those of
 * /etc/passwd and /etc/group: for others give numbers. Throws `not_found` or `usage`.
 */
export function ownerOf(text: string, files: NameFiles = SYSTEM): Owner {
  const [user = '', group = '', ...rest] = text.split(':');
  if (rest.length > 0 || (user === '' && group === '')) {
    throw new InterlockError('usage', 'owner', `"${text}" is no owner: write USER, USER:GROUP or :GROUP`);
  }
  const found = user === '' ? undefined : userOf(user, files);
  const uid = found?.uid ?? process.getuid?.() ?? 0;
  const gid = group === '' ? found?.gid : groupOf(group, files);
  return { uid, gid: gid ?? process.getgid?.() ?? 0 };
}

function userOf(name: string, files: NameFiles): { uid: number; gid: number | undefined } {
  // passwd(5): name:password:uid:gid:comment:home:shell
  const fields = fieldsOf(files.passwd());
  const number = idOf(name);
  const line = fields.find(([field, , uid]) => (number === undefined ? field === name : uid === name));
  const uid = number ?? idOf(line?.[2] ?? '');
  if (uid === undefined) throw unknown('user', name);
  return { uid, gid: idOf(line?.[3] ?? '') };
}

function groupOf(name: string, files: NameFiles): number {
  // group(5): name:password:gid:members
  const gid = idOf(name) ?? idOf(fieldsOf(files.group()).find(([field]) => field === name)?.[2] ?? '');
  if (gid === undefined) throw unknown('group', name);
  return gid;
}

function fieldsOf(text: string): string[][] {
  return text.split('\n').map((line) => line.split(':'));
}

function idOf(text: string): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= MAX_ID ? id : undefined;
}

function unknown(kind: string, name: string): InterlockError {
  return new InterlockError(
    'not_found',
    name,
    `there is no ${kind} "${name}" on this system: give its number`,
  );
}

import { readFileSync } from 'node:fs';
import { InterlockError } from '../access/index.ts';

/** 2^32 - 1 means "leave it" (chown(2)): it is nobody's number. */
const MAX_UID = 4_294_967_294;
/** Where the kernel shows users of whom a user namespace knows no number (user_namespaces(7)). */
const OVERFLOW_UID = 65_534;

/** Where users are looked up. */
export interface UserFiles {
  readonly passwd: () => string;
  /** What numbers this user namespace knows. */
  readonly uidMap: () => string;
  readonly overflowUid: () => string;
}

const SYSTEM: UserFiles = {
  passwd: () => readFileSync('/etc/passwd', 'utf8'),
  uidMap: () => readFileSync('/proc/self/uid_map', 'latin1'),
  overflowUid: () => readFileSync('/proc/sys/kernel/overflowuid', 'latin1'),
};

/** The number of a user, by name (of /etc/passwd) or number. Throws `not_found`. */
export function uidOf(user: string | number, files: Pick<UserFiles, 'passwd'> = SYSTEM): number {
  const number = numberOf(String(user));
  if (number !== undefined) return number;
  // passwd(5): name:password:uid:gid:comment:home:shell
  const line = lookUp(String(user), files);
  const found = numberOf(line?.[2] ?? '');
  if (found !== undefined) return found;
  throw new InterlockError('not_found', String(user), `there is no user "${user}" here: give its number`);
}

/**
 * The number under which all users appear that this user namespace does not know: it names nobody. Undefined where it
 * knows them all.
 */
export function strangersUid(files: Pick<UserFiles, 'uidMap' | 'overflowUid'> = SYSTEM): number | undefined {
  try {
    const lengths = [...files.uidMap().matchAll(/^\s*\d+\s+\d+\s+(\d+)\s*$/gm)].map((line) =>
      Number(line[1]),
    );
    if (lengths.reduce((sum, length) => sum + length, 0) > MAX_UID) return undefined;
    return numberOf(files.overflowUid().trim()) ?? OVERFLOW_UID;
  } catch {
    // Without /proc it is not known whether there are such users.
    return OVERFLOW_UID;
  }
}

function lookUp(user: string, { passwd }: Pick<UserFiles, 'passwd'>): readonly string[] | undefined {
  let text: string;
  try {
    text = passwd();
  } catch (cause) {
    throw new InterlockError(
      'not_found',
      user,
      `no names of users can be read here: give the number of "${user}"`,
      {
        cause,
      },
    );
  }
  for (const line of text.split('\n')) {
    const fields = line.split(':');
    if (fields[0] === user) return fields;
  }
  return undefined;
}

function numberOf(text: string): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const number = Number(text);
  return number <= MAX_UID ? number : undefined;
}

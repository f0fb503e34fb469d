import { InterlockError, type SpiffeId } from '../access/index.ts';
import type { People } from './people.ts';

/** The label or annotation of a workload that names its owners, separated by white space or commas; it comes before the file. */
export const OWNER_MARK = 'interlock.dev/owner';

/** Largest file of owners, and most lines and owners of a line. */
const MAX_TEXT = 1024 * 1024;
const MAX_LINES = 20_000;
const MAX_OWNERS = 20;
const MAX_NAME = 512;

/** One line: all workloads that begin so where it ends in `*`, and who owns them; nobody where none is named. */
export interface OwnerLine {
  readonly pattern: string;
  readonly owners: readonly string[];
}

/** What a file of owners says, who is in its teams, and which names are of one person. */
export interface OwnersFile {
  readonly lines: readonly OwnerLine[];
  readonly teams: ReadonlyMap<string, readonly string[]>;
  readonly people: People;
}

export const NO_OWNERS: OwnersFile = { lines: [], teams: new Map(), people: new Map() };

/**
 * Reads a file like CODEOWNERS: `spiffe://example.org/ns/shop/* @team-shop alice` on a line; `#` begins a comment; the
 * last line that matches counts. `@team-shop = alice bob` says who a team is, `alice = local:alice git:alice@acme.example` which
 * names are of one person. Throws `invalid_document`, `limit`.
 */
export function readOwners(text: string, file: string): OwnersFile {
  const lines = text.split(/\r?\n/);
  if (text.length > MAX_TEXT || lines.length > MAX_LINES)
    throw new InterlockError('limit', file, `${file} has more than ${MAX_LINES} lines, or than 1 MiB`);
  const found: OwnerLine[] = [];
  const teams = new Map<string, readonly string[]>();
  const people = new Map<string, string>();
  for (const [index, raw] of lines.entries()) {
    const [first, ...rest] = raw
      .replace(/(^|\s)#.*$/, '')
      .split(/\s+/)
      .filter((word) => word !== '');
    if (first === undefined) continue;
    const fault = (what: string) =>
      new InterlockError('invalid_document', file, what, { place: { file, line: index + 1 } });
    const names = rest[0] === '=' ? rest.slice(1) : rest;
    if (names.length > MAX_OWNERS || names.some((name) => name.length > MAX_NAME))
      throw fault(`at most ${MAX_OWNERS} owners stand on a line, each of at most ${MAX_NAME} characters`);
    if (first.startsWith('@') && rest[0] === '=') {
      if (names.some((name) => name.startsWith('@'))) throw fault('a team is people, not other teams');
      if (teams.has(first)) throw fault(`${first} is said twice`);
      teams.set(first, names);
    } else if (rest[0] === '=' && !first.includes(':')) {
      if ([...people.values()].includes(first)) throw fault(`${first} is said twice`);
      for (const name of names) {
        if (!isWhole(name))
          throw fault(`"${name}" is no whole name, such as local:alice, user:ISSUER#SUBJECT or git:ADDRESS`);
        const other = people.get(name);
        if (other !== undefined) throw fault(`${name} is of ${other} already: a name is of one person`);
        people.set(name, first);
      }
    } else if (isPattern(first) && rest[0] !== '=') found.push({ pattern: first, owners: names });
    else
      throw fault(
        'a line is "spiffe://DOMAIN/PATH OWNER...", where PATH may end in "*", or "@TEAM = NAME...", or "PERSON = WHOLE-NAME..."',
      );
  }
  return { lines: found, teams, people };
}

/** A name as the audit log has it: short ones may be of several people. */
function isWhole(name: string): boolean {
  return /^(local|link|git):.|^user:[^#]+#.|^spiffe:\/\/./.test(name);
}

function isPattern(text: string): boolean {
  return text.startsWith('spiffe://') && !text.slice(0, -1).includes('*');
}

/** Who owns a workload: as its own label says, else as the last line of the file that matches. Teams are named, not resolved. */
export function ownersOf(
  workload: SpiffeId,
  mark: string | undefined,
  { lines }: OwnersFile,
): readonly string[] {
  const named = (mark ?? '').split(/[\s,]+/).filter((word) => word !== '' && word.length <= MAX_NAME);
  if (named.length > 0) return named.slice(0, MAX_OWNERS);
  const line = lines.findLast(({ pattern }) =>
    pattern.endsWith('*') ? workload.startsWith(pattern.slice(0, -1)) : workload === pattern,
  );
  return line?.owners ?? [];
}

/**
 * Whether a caller is one of the owners: as the person that the file says they are, by the whole name that the audit log has of
 * them, by their user name on this machine (`local:alice` is alice), by their subject at an issuer
 * (`user:https://id.example#alice` is alice), or by a team.
 */
export function isOwner(who: string, owners: readonly string[], { teams, people }: OwnersFile): boolean {
  const all = owners.flatMap((owner) => (owner.startsWith('@') ? (teams.get(owner) ?? []) : [owner]));
  // Whom the file knows by whole names is nobody else who is called so elsewhere.
  const person = people.get(who);
  const short = shortName(who);
  const isOther = short !== undefined && [...people.values()].includes(short);
  return all.some((name) => name === who || name === person || (name === short && !isOther));
}

function shortName(who: string): string | undefined {
  if (who.startsWith('local:')) return who.slice('local:'.length);
  // An issuer is a URL without a fragment: the first "#" begins the subject.
  return /^user:[^#]*#(.+)$/.exec(who)?.[1];
}

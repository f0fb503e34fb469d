import { isInterlockError, parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import type { NoticeType } from '../../api/index.ts';
import type { AuditEntry } from '../../store/index.ts';
import { type Notice, type NoticeScope, plain } from './notice.ts';

type Entry = Pick<AuditEntry, 'at' | 'who' | 'act' | 'what' | 'details'>;
/** The details of an entry as far as they are read here. */
type Fields = Readonly<Record<string, unknown>>;
interface Said {
  readonly type: NoticeType;
  readonly summary: string;
  /** Fields that go along as they are. */
  readonly with?: readonly string[];
}

/** What people are told of an entry of the audit log; most entries tell nobody anything. */
export function noticesOf(entry: Entry): Notice[] {
  const { act, at, who } = entry;
  const read = Object.hasOwn(READERS, act) ? READERS[act] : undefined;
  if (read === undefined) return [];
  const fields = fieldsOf(entry.details);
  const what = plain(entry.what);
  const by = plain(who);
  const scope = scopeOf(entry, fields);
  return read({ ...entry, what, who: by, fields }).map(({ type, summary, with: names = [] }) => ({
    type,
    at,
    subject: what,
    summary: plain(summary, 800),
    details: { who: by, act, ...picked(fields, names) },
    scope,
  }));
}

interface Reading {
  readonly who: string;
  readonly what: string;
  readonly fields: Fields;
}
type Read = (entry: Reading) => readonly Said[];

const REASON = ['reason', 'why', 'id', 'until'];
const MOVE = ['stage', 'share', 'why', 'anyway'];

const READERS: Readonly<Record<string, Read>> = {
  'review.open': opened,
  'review.ask': ({ who, what, fields }) => [
    { type: 'comment', summary: `${who} asks about ${what}: ${textOf(fields, 'text')}`, with: ['text'] },
  ],
  'rollout.canary': ({ who, what, fields }) => [
    {
      type: 'promotion',
      summary: `${what} is in canary at ${percent(fields['share'])}, moved by ${who}${anyway(fields)}`,
      with: MOVE,
    },
  ],
  'rollout.enforced': ({ who, what, fields }) => [
    { type: 'promotion', summary: `${what} is enforced, moved by ${who}${anyway(fields)}`, with: MOVE },
  ],
  'rollout.shadow': takenBack,
  'rollout.draft': takenBack,
  release: ({ who, what, fields }) => [
    {
      type: 'release',
      summary: `enforcement is released for ${what} by ${who}${reason(fields)}`,
      with: REASON,
    },
  ],
  'release.local': ({ what, fields }) => [
    {
      type: 'release',
      summary: `enforcement is released by hand at the proxy ${what}${reason(fields)}`,
      with: REASON,
    },
  ],
  'release.end': ({ what }) => [
    {
      type: 'arm',
      summary: `the release of ${what} has ended by itself: it is enforced again`,
      with: REASON,
    },
  ],
  arm: ({ who, what }) => [
    { type: 'arm', summary: `${who} has ended the release of ${what}: it is enforced again`, with: REASON },
  ],
  'arm.local': ({ what }) => [
    { type: 'arm', summary: `the release by hand at the proxy ${what} has ended`, with: REASON },
  ],
  'authority.prepare': authority('is prepared'),
  'authority.import': authority('is prepared'),
  'authority.activate': authority('signs now'),
  'authority.taint': authority('is tainted: every SVID of it is replaced'),
  'authority.revoke': authority('is revoked: nothing that it signed is trusted any more'),
  'identity.revoke': ({ who, what, fields }) => [
    { type: 'revocation', summary: `${what} is revoked by ${who}${reason(fields)}`, with: REASON },
  ],
  'agent.evict': ({ who, what, fields }) => [
    { type: 'revocation', summary: `the agent ${what} is evicted by ${who}${reason(fields)}`, with: REASON },
  ],
};

function opened({ what, fields }: Reading): Said[] {
  const [added, widened, doubts] = ['added', 'widened', 'doubts'].map((name) => numberOf(fields, name));
  const proposed = (added ?? 0) + (widened ?? 0) + (doubts ?? 0);
  const unused = numberOf(fields, 'removed');
  const questions = numberOf(fields, 'question');
  const said: Said[] = [];
  if (proposed > 0) {
    const inDoubt = (doubts ?? 0) === 0 ? '' : `, ${doubts} in doubt`;
    said.push({
      type: 'proposal',
      summary: `${counted(proposed, 'change is', 'changes are')} proposed for ${what}${inDoubt}`,
      with: ['added', 'widened', 'doubts'],
    });
  }
  if (unused > 0)
    said.push({
      type: 'tightening',
      summary: `${counted(unused, 'rule', 'rules')} of ${what} nobody uses: take ${unused === 1 ? 'it' : 'them'} away?`,
      with: ['removed'],
    });
  if (questions > 0)
    said.push({
      type: 'question',
      summary: `the target of ${what} would deny ${counted(questions, 'access', 'accesses')} of today: is that meant?`,
      with: ['question'],
    });
  return said;
}

/** By the control plane itself that is a canary which refused what is known to be good; else somebody has decided it. */
function takenBack({ who, what, fields }: Reading): Said[] {
  const why = textOf(fields, 'why');
  const because = why === '' ? '' : `: ${why}`;
  const stage = textOf(fields, 'stage') || 'shadow';
  if (who === 'system')
    return [{ type: 'fallback', summary: `${what} fell back to ${stage} by itself${because}`, with: MOVE }];
  return [
    { type: 'demotion', summary: `${what} is back in ${stage}, moved by ${who}${because}`, with: MOVE },
  ];
}

function authority(does: string): Read {
  return ({ who, what, fields }) => [
    {
      type: 'authority',
      summary: `the authority ${what} ("${textOf(fields, 'name')}") ${does}, by ${who}`,
      with: ['name', 'notAfter', 'force'],
    },
  ];
}

function scopeOf({ act, what }: Entry, fields: Fields): NoticeScope {
  if (act === 'release' || act === 'arm' || act === 'release.end') {
    const namespace = /^namespace (.+)$/.exec(what)?.[1];
    if (namespace !== undefined) return { kind: 'namespace', namespace };
  }
  const named = textOf(fields, 'workload');
  const id = idOf(named === '' ? what : named);
  // An agent is no workload of anybody's.
  return id === undefined || act === 'agent.evict' ? { kind: 'all' } : { kind: 'workload', workload: id };
}

function idOf(text: string): SpiffeId | undefined {
  try {
    return parseSpiffeId(text);
  } catch (error) {
    if (isInterlockError(error)) return undefined;
    throw error;
  }
}

function fieldsOf(details: unknown): Fields {
  const fields: Record<string, unknown> = Object.create(null);
  return typeof details === 'object' && details !== null ? Object.assign(fields, details) : fields;
}

function picked(fields: Fields, names: readonly string[]): Record<string, string | number | boolean> {
  const found: Record<string, string | number | boolean> = {};
  for (const name of names) {
    const value = fields[name];
    if (typeof value === 'string') found[name] = plain(value);
    else if (typeof value === 'number' || typeof value === 'boolean') found[name] = value;
  }
  return found;
}

function textOf(fields: Fields, name: string): string {
  const value = fields[name];
  return typeof value === 'string' ? plain(value) : '';
}

function numberOf(fields: Fields, name: string): number {
  const value = fields[name];
  return typeof value === 'number' ? value : 0;
}

function reason(fields: Fields): string {
  const said = textOf(fields, 'reason');
  return said === '' ? '' : `: ${said}`;
}

/** Checks have failed, and somebody went on: that is said with the promotion. */
function anyway(fields: Fields): string {
  const said = textOf(fields, 'anyway');
  return said === '' ? '' : `, although checks failed: ${said}`;
}

function percent(share: unknown): string {
  return typeof share === 'number' ? `${Math.round(share * 1000) / 10} %` : 'some share';
}

function counted(n: number, one: string, many: string): string {
  return `${n} ${n === 1 ? one : many}`;
}

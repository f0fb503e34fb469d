import { type AuditEntry, type AuditFault, FIRST_PREVIOUS, hashOf } from '../../audit.ts';
import type { Session } from '../session.ts';
import { AUDIT_COLUMNS, auditOf } from './rows.ts';

/** Entries that are read at once. */
const PAGE = 1000;

/** Reads the log page by page; the first fault, or undefined. */
export async function auditFault(session: Session, from: number): Promise<AuditFault | undefined> {
  let seq = Math.max(1, from);
  let previous = FIRST_PREVIOUS;
  if (seq > 1) {
    const before = await session.row('select hash from audit where seq = $1', seq - 1);
    if (before === undefined) return { seq: seq - 1, reason: 'missing' };
    previous = String(before[0]);
  }
  for (;;) {
    const rows = await session.rows(
      `select ${AUDIT_COLUMNS} from audit where seq >= $1 order by seq limit ${PAGE}`,
      seq,
    );
    for (const entry of rows.map(auditOf)) {
      const fault = faultOf(entry, seq, previous);
      if (fault !== undefined) return fault;
      previous = entry.hash;
      seq++;
    }
    if (rows.length < PAGE) break;
  }
  const written = await session.row('select audit_seq from head');
  return Number(written?.[0] ?? 0) >= seq ? { seq, reason: 'missing' } : undefined;
}

function faultOf(entry: AuditEntry, seq: number, previous: string): AuditFault | undefined {
  if (entry.seq !== seq) return { seq, reason: 'missing' };
  return entry.previous !== previous || hashOf(entry) !== entry.hash ? { seq, reason: 'changed' } : undefined;
}

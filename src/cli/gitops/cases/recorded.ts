import { realpathSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { z } from 'zod';
import { type Action, InterlockError, parsePrincipal, type Principal } from '../../../access/index.ts';
import { ioError } from '../../files.ts';
import { readBelow } from '../tree.ts';

/** Largest recording, in bytes. */
const MAX_RECORDING = 64 * 1024 * 1024;

/** An access as `interlock access --json` prints it, as far as a verdict depends on it. */
export interface RecordedAccess {
  readonly from: Principal;
  readonly to: Principal;
  readonly action: Action;
  /** Calls that reached the callee; 0 for what was only declared, or never got there. */
  readonly count: number;
  /** Its path stands for many that were no longer kept apart. */
  readonly collapsed: boolean;
}

const port = z.int().min(0).max(65_535);
const text = z.string().max(8192);
const line = z.looseObject({
  from: text,
  to: text,
  action: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('tcp'), port }),
    z.strictObject({ kind: z.literal('http'), port, method: text, path: text }),
    z.strictObject({ kind: z.literal('grpc'), port, service: text, method: text }),
  ]),
  views: z.array(z.string()).max(10),
  evidence: z.looseObject({ count: z.number().min(0) }),
  collapsed: z.boolean().optional(),
});

/**
 * The accesses of a recording that a test names, which lies in the directory of the tests. Throws `invalid_recording` with
 * the line: what is not understood is not passed over, since a test of the rest would say too much.
 */
export function readRecorded(root: string, test: string, file: string): RecordedAccess[] {
  const path = inside(root, join(dirname(test), file), `${test}: "${file}"`);
  const content = readBelow(root, path, MAX_RECORDING);
  const accesses: RecordedAccess[] = [];
  let number = 0;
  for (const each of content.split('\n')) {
    number++;
    if (each.trim() !== '') accesses.push(accessOf(each, path, number));
  }
  return accesses;
}

function accessOf(json: string, file: string, number: number): RecordedAccess {
  const refuse = (reason: string, cause?: unknown) =>
    new InterlockError('invalid_recording', file, `${reason}: write it by "interlock access --json"`, {
      cause,
      place: { file, line: number },
    });
  let data: unknown;
  try {
    data = JSON.parse(json);
  } catch (cause) {
    throw refuse('the line is not JSON', cause);
  }
  const parsed = line.safeParse(data);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw refuse(`no access, "${issue?.path.join('.') ?? ''}": ${issue?.message ?? ''}`);
  }
  const { from, to, action, views, evidence, collapsed = false } = parsed.data;
  const count = views.includes('observed') ? evidence.count : 0;
  try {
    return { from: parsePrincipal(from), to: parsePrincipal(to), action, count, collapsed };
  } catch (cause) {
    if (cause instanceof InterlockError) throw refuse(cause.message, cause);
    throw cause;
  }
}

/** Whoever proposes a change of the tests must not read what else is on the machine that runs them. */
function inside(root: string, path: string, what: string): string {
  let real: string;
  try {
    real = realpathSync(join(root, path));
  } catch (cause) {
    throw ioError(join(root, path), cause);
  }
  if (real.startsWith(root + sep)) return relative(root, real);
  throw new InterlockError('invalid_document', path, `${what} is not below the directory of the tests`);
}

import { parseDocument } from 'yaml';
import { InterlockError, isInterlockError } from '../access/index.ts';
import { DEFAULT_CANARY, DEFAULT_GATES, type GatesFile, gatesFileFrom } from '../rollout/index.ts';
import { Api, type ApiOf } from './control/api.ts';
import { readText } from './files.ts';

/** The gates of a file, for `--gates FILE`. Throws `not_found`, `io`, `limit`, `invalid_document`. */
export function readGates(file: string): GatesFile {
  const document = parseDocument(readText(file));
  const [error] = document.errors;
  if (error !== undefined) {
    const line = error.linePos === undefined ? '' : `:${error.linePos[0].line}`;
    const [what = ''] = error.message.split('\n');
    throw new InterlockError('invalid_document', file, `${file}${line} is no YAML: ${what}`);
  }
  return gatesFileFrom(plain(document, file), file);
}

function plain(document: ReturnType<typeof parseDocument>, file: string): unknown {
  try {
    return document.toJS();
  } catch (cause) {
    // Aliases that lead to themselves, or to ever more.
    throw new InterlockError('invalid_document', file, `${file} cannot be read: ${String(cause)}`, { cause });
  }
}

/** Where gates come from. */
export type GatesOrigin = 'file' | 'control plane' | 'default';

/**
 * The gates that a command judges by: those of `file` where it is given, else those of the control plane that serves the
 * state, else the defaults, as where no control plane runs.
 */
export async function gatesOf(
  of: ApiOf,
  file: string | undefined,
): Promise<GatesFile & { readonly from: GatesOrigin }> {
  if (file !== undefined) return { ...readGates(file), from: 'file' };
  try {
    return { ...(await new Api(of).call('gates.get')), from: 'control plane' };
  } catch (error) {
    // One of an earlier program does not know of gates: it has the defaults.
    if (!isInterlockError(error) || !['unavailable', 'not_found'].includes(error.code)) throw error;
    return { gates: DEFAULT_GATES, canary: DEFAULT_CANARY, from: 'default' };
  }
}

import { type Document, isScalar, LineCounter } from 'yaml';
import { InterlockError, type Place } from '../access/index.ts';
import {
  MOST_FAULTS,
  oddityOf,
  offsetAt,
  type YamlDocument,
  yamlDocuments,
  YamlTooMuch,
} from '../yaml/index.ts';
import { checkPolicy } from './check.ts';
import type { AccessPolicy } from './types.ts';

/** Largest text of policies, in UTF-16 units, and its deepest nesting (the format itself needs nine levels). */
export const MAX_POLICY_TEXT = 4 * 1024 * 1024;
export const MAX_POLICY_DEPTH = 32;
/** As much as 4 MiB of ordinary policies have: some 24,000 rules. */
const LIMITS = { depth: MAX_POLICY_DEPTH, pieces: 2_000_000, documents: 20_000 } as const;
/** Entries of one list: more than there are rules in 4 MiB. */
const MAX_LIST = 50_000;
/** Characters of what is said of a fault: it quotes what somebody wrote. */
const MAX_REASON = 1000;

/**
 * The AccessPolicy documents of a YAML (or JSON) text. Everything that would silently mean something else than
 * it says is refused: throws `invalid_document` or `limit` with the document's name, what is wrong and the line.
 */
export function readPolicies(text: string, file?: string): AccessPolicy[] {
  const place = (line?: number): Place => ({ file, line });
  if (text.length > MAX_POLICY_TEXT) {
    throw new InterlockError('limit', file ?? 'policies', 'the text is larger than 4 MiB: split it', {
      place: place(),
    });
  }
  const lines = new LineCounter();
  const policies: AccessPolicy[] = [];
  const seen = new Map<string, number>();
  for (const one of within(yamlDocuments(text, lines, LIMITS), lines, file)) {
    const policy = readDocument(one, lines, place);
    if (policy === undefined) continue;
    const { metadata, spec } = policy;
    const key = `${spec.protects.workload} ${metadata.name}`;
    const line = one.document && lineOf(one.document, lines, ['metadata', 'name']);
    const before = seen.get(key);
    if (before !== undefined) {
      const message = `a policy named "${metadata.name}" for ${spec.protects.workload} is already in line ${before}: give one another name`;
      throw new InterlockError('invalid_document', metadata.name, message, { place: place(line) });
    }
    seen.set(key, line ?? 1);
    policies.push(policy);
  }
  return policies;
}

/** The same documents, where what is too much is said in our words. */
function* within(
  documents: Iterable<YamlDocument>,
  lines: LineCounter,
  file: string | undefined,
): Generator<YamlDocument> {
  try {
    yield* documents;
  } catch (error) {
    if (!(error instanceof YamlTooMuch)) throw error;
    const what = {
      depth: `the text is nested deeper than ${MAX_POLICY_DEPTH} levels`,
      pieces: `the text has more than ${LIMITS.pieces} words, signs and line ends: split it`,
      documents: `the text has more than ${LIMITS.documents} documents: split it`,
    }[error.limit];
    const place: Place = { file, line: lines.linePos(error.offset).line };
    throw new InterlockError('limit', file ?? 'policies', what, { place });
  }
}

/** One thing that is wrong with a document, in `details.faults` of the error where there are several. */
interface Fault {
  readonly what: string;
  readonly line: number | undefined;
}

function readDocument(
  { document, faults: broken }: YamlDocument,
  lines: LineCounter,
  place: (line?: number) => Place,
): AccessPolicy | undefined {
  const subject = (broken.length === 0 && document && nameOf(document)) || 'policy';
  const lineAt = (offset: number | undefined) =>
    offset === undefined ? undefined : lines.linePos(offset).line;
  // Every fault of the document stands in the details: who writes it is told all of them at once.
  const refuse = (reason: string, offset: number | undefined, faults: readonly Fault[] = []) =>
    new InterlockError('invalid_document', subject, reason.slice(0, MAX_REASON), {
      place: place(lineAt(offset)),
      ...(faults.length < 2 ? {} : { details: { faults: faults.slice(0, MOST_FAULTS) } }),
    });
  const [first] = broken;
  if (first !== undefined) {
    const faults = broken.map(({ what, offset }) => ({
      what: `not valid YAML: ${what}`,
      line: lineAt(offset),
    }));
    throw refuse(`not valid YAML: ${first.what}`, first.offset, faults);
  }
  if (document === undefined) return undefined;
  const odd = oddityOf(document, { depth: MAX_POLICY_DEPTH, list: MAX_LIST });
  if (odd !== undefined) throw refuse(odd.reason, odd.offset);
  const { contents } = document;
  if (contents === null || (isScalar(contents) && contents.value === null)) return undefined;
  const checked = checkedPolicy(document, refuse);
  if (checked.ok) return checked.policy;
  const [problem, ...more] = checked.problems;
  const others = more.length === 0 ? '' : ` (and ${more.length} more)`;
  throw refuse(
    `${problem?.reason ?? 'it is not an AccessPolicy'}${others}`,
    offsetAt(document, problem?.path ?? [], problem?.key),
    checked.problems.slice(0, MOST_FAULTS).map(({ reason, path, key }) => ({
      what: reason.slice(0, MAX_REASON),
      line: lineAt(offsetAt(document, path, key)),
    })),
  );
}

/** As {@link checkPolicy}. What is wrong in hundreds of thousands of places exhausts the stack of who collects them. */
function checkedPolicy(
  document: Document.Parsed,
  refuse: (reason: string, offset: number | undefined) => InterlockError,
): ReturnType<typeof checkPolicy> {
  try {
    return checkPolicy(document.toJS({ maxAliasCount: 0 }));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw refuse('it is wrong in too many places to name one', document.contents?.range?.[0]);
  }
}

function nameOf(document: Document.Parsed): string {
  const name: unknown = document.getIn(['metadata', 'name']);
  return typeof name === 'string' ? name.slice(0, 80) : 'policy';
}

function lineOf(document: Document.Parsed, lines: LineCounter, path: readonly (string | number)[]) {
  const offset = offsetAt(document, path);
  return offset === undefined ? undefined : lines.linePos(offset).line;
}

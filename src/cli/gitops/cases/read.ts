import { isNode, isScalar, LineCounter, parseDocument, type Scalar, visit } from 'yaml';
import { InterlockError } from '../../../access/index.ts';
import { headOf, isDocumentFile, type Part, partsOf } from '../documents.ts';
import { type LeftOut, readTree } from '../tree.ts';
import { POLICY_TEST_KIND, type PolicyTest, policyTestSchema } from './schema.ts';

/** A test document and the file that it stands in. */
export interface LocatedTest {
  readonly file: string;
  readonly test: PolicyTest;
}

/** Whether a file holds tests by its name. */
const isTestFile = (path: string) => /\.test\.ya?ml$/.test(path);

/** Every PolicyTest below a directory. Throws `invalid_document` with file and line; also for a test file without one, or not read. */
export function readTests(dir: string): { root: string; tests: LocatedTest[]; leftOut: readonly LeftOut[] } {
  const { root, files, leftOut } = readTree(dir, isDocumentFile);
  // What is not run must not look as if it had passed.
  const unread = leftOut.find(({ path }) => isTestFile(path));
  if (unread !== undefined)
    throw new InterlockError('invalid_document', unread.path, `${unread.path} is ${unread.why}`, {
      place: { file: unread.path },
    });
  const tests = files.flatMap(({ path, text }) => {
    const parts = partsOf(text).filter((part) => headOf(part).kind === POLICY_TEST_KIND);
    if (parts.length === 0 && isTestFile(path))
      throw new InterlockError('invalid_document', path, `${path} holds no ${POLICY_TEST_KIND}`, {
        place: { file: path },
      });
    return parts.map((part) => ({ file: path, test: readTest(path, part) }));
  });
  return { root, tests, leftOut };
}

function readTest(file: string, part: Part): PolicyTest {
  const lines = new LineCounter();
  const refuse = (reason: string, offset: number | undefined, subject = 'test') => {
    const line = part.lines + (offset === undefined ? 1 : lines.linePos(offset).line);
    return new InterlockError('invalid_document', subject, reason, { place: { file, line } });
  };
  let document: ReturnType<typeof parseDocument>;
  let data: unknown;
  try {
    document = parseDocument(part.text, {
      version: '1.2',
      schema: 'core',
      lineCounter: lines,
      stringKeys: true,
      // Its own check compares every key with every other.
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: 'silent',
    });
    const [error] = [...document.errors, ...document.warnings];
    if (error !== undefined) throw refuse(`not valid YAML: ${error.message.split('\n', 1)[0]}`, error.pos[0]);
    const twice = repeatedKey(document);
    if (twice !== undefined) throw refuse(`key "${String(twice.value)}" is given twice`, twice.range?.[0]);
    // No alias is followed: a short text must not become a long one.
    data = document.toJS({ maxAliasCount: 0 });
  } catch (cause) {
    if (cause instanceof RangeError) throw refuse('the text is nested too deep', undefined);
    if (cause instanceof ReferenceError)
      throw refuse('an alias (*name) is not allowed: write it out', undefined);
    throw cause;
  }
  const result = policyTestSchema.safeParse(data);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const path = (issue?.path ?? []).filter((key) => typeof key !== 'symbol');
  const where = path.length === 0 ? '' : `${path.join('.')}: `;
  throw refuse(`${where}${issue?.message ?? 'it is no PolicyTest'}`, offsetOf(document, path));
}

function repeatedKey(document: ReturnType<typeof parseDocument>): Scalar | undefined {
  let found: Scalar | undefined;
  visit(document, {
    Map(_, { items }) {
      const seen = new Set<unknown>();
      found = items
        .map(({ key }) => key)
        .filter((key) => isScalar(key))
        .find(({ value }) => seen.size === seen.add(value).size);
      return found === undefined ? undefined : visit.BREAK;
    },
  });
  return found;
}

/** Where a problem stands, or the nearest thing above it. */
function offsetOf(document: ReturnType<typeof parseDocument>, path: readonly (string | number)[]) {
  for (let length = path.length; length >= 0; length--) {
    const node: unknown = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(node)) return node.range?.[0];
  }
  return undefined;
}

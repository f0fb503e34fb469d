import { isNode, LineCounter, parseDocument } from 'yaml';
import { InterlockError } from '../../../access/index.ts';
import { headOf, isDocumentFile, type Part, partsOf } from '../documents.ts';
import { readTree } from '../tree.ts';
import { POLICY_TEST_KIND, type PolicyTest, policyTestSchema } from './schema.ts';

/** A test document and the file that it stands in. */
export interface LocatedTest {
  readonly file: string;
  readonly test: PolicyTest;
}

/** Whether a file holds tests by its name. */
const isTestFile = (path: string) => /\.test\.ya?ml$/.test(path);

/** Every PolicyTest below a directory. Throws `invalid_document` with file and line; also for a test file without one. */
export function readTests(dir: string): { root: string; tests: LocatedTest[] } {
  const { root, files } = readTree(dir, isDocumentFile);
  const tests = files.flatMap(({ path, text }) => {
    const parts = partsOf(text).filter((part) => headOf(part).kind === POLICY_TEST_KIND);
    if (parts.length === 0 && isTestFile(path))
      throw new InterlockError('invalid_document', path, `${path} holds no ${POLICY_TEST_KIND}`, {
        place: { file: path },
      });
    return parts.map((part) => ({ file: path, test: readTest(path, part) }));
  });
  return { root, tests };
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
      prettyErrors: false,
      logLevel: 'silent',
    });
    const [error] = [...document.errors, ...document.warnings];
    if (error !== undefined) throw refuse(`not valid YAML: ${error.message.split('\n', 1)[0]}`, error.pos[0]);
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

/** Where a problem stands, or the nearest thing above it. */
function offsetOf(document: ReturnType<typeof parseDocument>, path: readonly (string | number)[]) {
  for (let length = path.length; length >= 0; length--) {
    const node: unknown = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(node)) return node.range?.[0];
  }
  return undefined;
}

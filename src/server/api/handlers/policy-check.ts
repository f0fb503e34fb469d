import { isInterlockError } from '../../../access/index.ts';
import { readPolicies } from '../../../policy/index.ts';
import type { Answer } from '../../../api/index.ts';
import type { Handlers } from '../handler.ts';

type Faults = Answer<'policies.check'>['faults'];

/** Faults that are told at once, and documents that are looked at for more where one is wrong. */
const MOST_FAULTS = 100;
const MOST_DOCUMENTS = 200;

/** What is wrong with a text of policies, for who is writing it: nothing is kept. */
export function policyCheckHandlers(): Handlers<'policies.check'> {
  return {
    'policies.check': ({ body: { yaml } }) => {
      try {
        const policies = readPolicies(yaml).map(({ metadata, spec }) => ({
          name: metadata.name,
          workload: spec.protects.workload,
          rules: spec.rules.length,
          deny: spec.deny.length,
        }));
        return { policies, faults: [] };
      } catch (error) {
        const own = faultsOf(error, 0);
        const [fault] = own;
        // What is too large or too deep as a whole is not taken apart.
        const faults = isInterlockError(error) && error.code === 'limit' ? own : faultsByDocument(yaml, own);
        return { policies: [], ...(fault === undefined ? {} : { fault: first(error, fault) }), faults };
      }
    },
  };
}

/** The error as one fault: its own message, which says how many more there are. */
function first(error: unknown, { subject, line }: Faults[number]): Faults[number] {
  return {
    what: error instanceof Error ? error.message : String(error),
    subject,
    ...(line === undefined ? {} : { line }),
  };
}

/** Reading a text ends at its first document that is wrong: the others are read alone. */
function faultsByDocument(yaml: string, own: Faults): Faults {
  const found: Faults[number][] = [];
  for (const { text, line } of documentsOf(yaml).slice(0, MOST_DOCUMENTS)) {
    if (found.length >= MOST_FAULTS) break;
    try {
      readPolicies(text);
    } catch (error) {
      found.push(...faultsOf(error, line));
    }
  }
  // What is only wrong together, as two policies of one name, is a fault of the whole.
  return (found.length === 0 ? own : found)
    .toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0))
    .slice(0, MOST_FAULTS);
}

/** The documents of a text, each with how many lines are before it. "---" at the start of a line is always a mark (YAML 1.2, 9.1.2). */
function documentsOf(yaml: string): { readonly text: string; readonly line: number }[] {
  const lines = yaml.split(/\r\n|\r|\n/);
  // A directive is of the document after it: such a text is left whole.
  if (lines.some((line) => line.startsWith('%'))) return [];
  const starts = lines.flatMap((line, at) => (at > 0 && /^---(?:[ \t]|$)/.test(line) ? [at] : []));
  return [0, ...starts].map((from, i) => ({ text: lines.slice(from, starts[i]).join('\n'), line: from }));
}

/** Every fault that an error tells of. */
function faultsOf(error: unknown, before: number): Faults {
  if (!isInterlockError(error)) throw error;
  const { subject, message, place, details } = error;
  const several: unknown = details?.['faults'];
  const faults =
    Array.isArray(several) && several.length > 0 ? several : [{ what: message, line: place?.line }];
  return faults.map(({ what, line }: { readonly what: unknown; readonly line: unknown }) => ({
    what: String(what),
    subject,
    ...(typeof line === 'number' ? { line: line + before } : {}),
  }));
}

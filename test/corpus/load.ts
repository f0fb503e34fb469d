import { readdirSync, readFileSync } from 'node:fs';
import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { type Action, parsePrincipal, parseSpiffeId } from '../../src/access/index.ts';
import {
  type AccessPolicy,
  type AccessRequest,
  DECIDED_BY,
  readPolicies,
  type Verdict,
} from '../../src/policy/index.ts';

/**
 * One file of the corpus: policies, and requests with what they give. `from` and `to` are names of the file, SPIFFE
 * IDs or `unauthenticated:ORIGIN`; `to` is the first protected workload where it is left out. `do` is `tcp :PORT`,
 * `grpc SERVICE/METHOD :PORT` or `METHOD PATH :PORT`; port 0 is an unknown one. `gives` is what decided, with the
 * rule where a rule did; `policy` names its policy where the file has several. `at` is the time of the request; without it no
 * rule that has an end is there.
 */
const corpusFile = z.strictObject({
  about: z.string(),
  names: z.record(z.string(), z.string()),
  policies: z.array(z.unknown()).min(1),
  cases: z.array(
    z.strictObject({
      case: z.string(),
      from: z.string(),
      to: z.string().optional(),
      do: z.string(),
      at: z.iso.datetime({ offset: true }).optional(),
      attributes: z
        .strictObject({
          path: z.string().optional(),
          host: z.string().optional(),
          headers: z.record(z.string(), z.string()).optional(),
          sourceAddress: z.string().optional(),
        })
        .optional(),
      gives: z.string(),
      policy: z.string().optional(),
      unknown: z.literal(true).optional(),
    }),
  ),
});
type Case = z.infer<typeof corpusFile>['cases'][number];

/** A decision that every evaluator has to give. */
export interface Decision {
  readonly file: string;
  readonly name: string;
  readonly policies: readonly AccessPolicy[];
  readonly request: AccessRequest;
  /** Milliseconds since 1970 UTC; `Infinity` where the case names no time. */
  readonly at: number;
  readonly verdict: Verdict;
}

const FOLDER = new URL('decisions/', import.meta.url);

/** Every decision of the corpus, in the order of files and cases. */
export function loadDecisions(): Decision[] {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.yaml'));
  return files.sort().flatMap((file) => {
    const content = corpusFile.parse(parse(readFileSync(new URL(file, FOLDER), 'utf8')));
    const policies = readPolicies(content.policies.map((policy) => stringify(policy)).join('---\n'), file);
    const id = (name: string) => content.names[name] ?? name;
    return content.cases.map((one) => ({
      file,
      name: one.case,
      policies,
      request: requestOf(one, id, policies),
      at: one.at === undefined ? Number.POSITIVE_INFINITY : Date.parse(one.at),
      verdict: verdictOf(one, policies),
    }));
  });
}

function requestOf(
  one: Case,
  id: (name: string) => string,
  policies: readonly AccessPolicy[],
): AccessRequest {
  const to = one.to === undefined ? policies[0]?.spec.protects.workload : parseSpiffeId(id(one.to));
  if (to === undefined) throw new Error(`"${one.case}" has no workload to act on`);
  const { attributes } = one;
  // Optional fields as zod types them may be undefined; the parsed value has no such field.
  const given = attributes as AccessRequest['attributes'];
  return {
    from: parsePrincipal(id(one.from)),
    to,
    action: actionOf(one.do),
    ...(given === undefined ? {} : { attributes: given }),
  };
}

function actionOf(text: string): Action {
  const [, what = '', digits] = /^(.*) :(\d+)$/s.exec(text) ?? [];
  const port = Number(digits);
  if (text.startsWith('tcp :')) return { kind: 'tcp', port };
  const space = what.indexOf(' ');
  const [first, rest] = [what.slice(0, space), what.slice(space + 1)];
  if (space < 1 || Number.isNaN(port)) throw new Error(`"${text}" is not an action`);
  if (first !== 'grpc') return { kind: 'http', port, method: first, path: rest };
  const slash = rest.indexOf('/');
  return { kind: 'grpc', port, service: rest.slice(0, slash), method: rest.slice(slash + 1) };
}

function verdictOf(one: Case, policies: readonly AccessPolicy[]): Verdict {
  const [by = '', rule] = one.gives.split(' ');
  const decidedBy = DECIDED_BY.find((name) => name === by);
  if (decidedBy === undefined) throw new Error(`"${one.case}" gives "${by}", which decides nothing`);
  const policy = one.policy ?? policies[0]?.metadata.name ?? '';
  return {
    allowed: decidedBy === 'rule' || decidedBy === 'no-policy',
    decidedBy,
    ...(rule === undefined ? {} : { policy, rule }),
    ...(one.unknown === undefined ? {} : { conditionUnknown: true }),
  };
}

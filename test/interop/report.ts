import { normalizePath } from '../../src/policy/index.ts';
import type { PathRow } from './path-probes.ts';
import type { ShadowCounters } from './shadow-probe.ts';
import type { TemplateResult } from './template-probes.ts';
import type { VerdictResult } from './verdicts.ts';

/** All that one run found. */
export interface Findings {
  readonly version: string;
  /** ISO 8601 date. */
  readonly date: string;
  readonly verdicts: VerdictResult;
  readonly paths: readonly PathRow[];
  readonly templates: TemplateResult;
  readonly shadow: ShadowCounters;
}

/** What must not be: each as a sentence. Empty for a run that may be published. */
export function faultsOf({ verdicts, paths, templates }: Findings): string[] {
  return [
    ...verdicts.faults,
    ...templates.rendered.map((text) => `template ${text}: Envoy does not match what the policy does`),
    ...paths.flatMap(({ path, decide, guarded }) => {
      if (guarded === undefined)
        return decide === undefined || path === '*' ? [] : [`path ${path}: Envoy denies it, decide does not`];
      if (decide !== undefined && decide !== guarded)
        return [`path ${path}: decide matches ${decide}, the upstream gets ${guarded}`];
      const again = normalizePath(guarded);
      return again.ok && again.path === guarded
        ? []
        : [`path ${path}: the upstream gets ${guarded}, which is not in normal form`];
    }),
  ];
}

/** The part of docs/interop.md about the rendered policies. */
export function renderedPolicies(findings: Findings): string {
  const { version, date, verdicts, paths, templates, shadow } = findings;
  const count = (what: string) => verdicts.counts.get(what) ?? 0;
  const same = paths.filter(({ decide, guarded }) => decide === guarded && decide !== undefined);
  const refused = paths.filter(({ decide, guarded }) => decide === undefined && guarded === undefined);
  const byGuard = refused.filter(({ envoy }) => envoy !== undefined);
  const stricter = paths.filter(({ decide, guarded }) => decide === undefined && guarded !== undefined);
  const code = (text: string) => {
    const fence = text.includes('`') ? '``' : '`';
    return `${fence}${text.replaceAll('|', '\\|')}${fence}`;
  };
  return `The last run of \`node test/interop/envoy-rbac.ts --write\`: ${date}, Envoy ${version}. It renders random policies with the
envoy engine, starts Envoy on the loopback interface with the rendered filters as they are, and asks every case over
TLS with client certificates of an authority of its own.

### Verdicts

| | |
|---|---|
| cases | ${count('cases')} |
| allowed, denied | ${count('allowed')}, ${count('denied')} |
| Envoy answers as \`decide\` | ${count('equal')} |
| Envoy denies what \`decide\` allows, and the rendering said so (a narrower loss) | ${count('explained')} |
| Envoy denies what \`decide\` allows, and nothing said so | ${count('unexplained')} |
| Envoy allows what \`decide\` denies | ${count('wider')} |
| the evaluator of the tests answers as Envoy, with the same policy | ${count('evaluator agrees')} |
| the policy that Envoy reports is the rule that \`decide\` names | ${count('same rule named')} of ${count('same rule named') + count('other rule named')} |

The cases are the corpus of decisions and random policies, moved to loopback addresses and ports above 20,000. On a port
that is served as TCP, an HTTP request with an unsafe path is judged as the connection that it is. ${count('rewritten')} requests with
paths that \`decide\` refuses were rewritten by Envoy before any filter, and are judged as what the upstream received.

### Paths

${paths.length} paths that programs have disagreed about, sent raw:

- ${same.length} reach the upstream exactly as \`decide\` matches them, ${refused.length} are denied by both. Of these, Envoy's connection
  manager lets ${byGuard.length} pass and the rendered guard denies them: ${byGuard.map(({ path }) => code(path)).join(', ')}.
- ${stricter.length} are refused by \`decide\` and rewritten by Envoy before any filter sees them. What reaches the upstream is in
  normal form and is what the rules judged.

| sent | reaches the upstream, if a rule allows it |
|---|---|
${stricter.map(({ path, guarded }) => `| ${code(path)} | ${code(guarded ?? '')} |`).join('\n')}

Envoy's HTTP/1 codec refuses methods that it does not know, and those in lower case. \`OPTIONS *\` is refused by an Envoy that normalises paths; \`decide\` lets rules allow it. Paths of more than 8,192
characters are refused by \`decide\`; Envoy judges them by the same rules.

### Templates

${templates.cases} pairs of template and path. What is rendered (exact, prefix, regular expression) differs from the policy's
templates in ${templates.rendered.length}; Envoy's own \`uri_template\` would in ${templates.uriTemplate.length}${templates.uriTemplate.length === 0 ? '' : `: ${templates.uriTemplate.map(code).join(', ')}`}.

### Shadow

A shadow rendering denied nothing, and these counters rose for one request that is allowed, one that no rule allows, one
that is denied, and one connection that is denied:

${[...shadow].map(([name, value]) => `- ${code(name)}: ${value}`).join('\n')}
`;
}

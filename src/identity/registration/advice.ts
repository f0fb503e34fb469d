import type { CompiledRule } from './compile.ts';
import { isOfWorkload } from './template.ts';

/** What a person should know about a rule that is allowed and gives more than it may seem: short sentences. */
export function adviceFor(rule: CompiledRule): string[] {
  const { name, nodeSelectors, nodeWhen, selectors, when, path, downstream } = rule;
  const advice: string[] = [];
  const onNodes = nodeSelectors.length > 0 || nodeWhen !== undefined;
  // An agent reports its workloads' attributes: without a condition on nodes, any one of them can report anything.
  if (!onNodes)
    advice.push(`rule "${name}" has no "nodes": whoever takes over one node gets every ID that it gives`);
  const onWorkloads =
    selectors.length > 0 ||
    when !== undefined ||
    path.some(({ variable }) => variable !== undefined && isOfWorkload(variable));
  if (!onWorkloads && downstream === undefined)
    advice.push(`rule "${name}" has no condition on workloads: every process on those nodes gets its ID`);
  if (downstream?.unlimited === true)
    advice.push(`rule "${name}" makes a child authority that may speak for every path of the trust domain`);
  return advice;
}

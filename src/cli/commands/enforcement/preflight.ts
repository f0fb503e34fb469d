import { InterlockError, parseSpiffeId } from '../../../access/index.ts';
import type { Tier } from '../../../policy/index.ts';
import { preflight, type PreflightFacts } from '../../../rollout/index.ts';
import type { CommandSpec, CommonOptions } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { EXIT } from '../../exit.ts';
import { judgedEvidence } from '../../judged-evidence.ts';
import { plural } from '../../words.ts';

/** `interlock preflight`: everything that should be so before a promotion. */
export const preflightCommand: CommandSpec<CommonOptions> = {
  name: 'preflight',
  args: '<workload-or-strict> [workload]',
  summary:
    'Check what should be so before a workload is promoted to enforcement, each by name with what to do. "preflight strict ID" says who would be cut off by refusing plain text.',
  options: [],
  example: 'interlock preflight spiffe://example.org/ns/shop/sa/cart',
  json: '{workload, for, ready, checks: [{check, state, have, what?}]}',
  async run({ terminal, now }, [first = '', second], { state, json }) {
    const strict = first === 'strict';
    if (strict === (second === undefined))
      throw new InterlockError(
        'usage',
        'preflight',
        'name one workload: "preflight ID" or "preflight strict ID"',
      );
    const workload = parseSpiffeId(strict ? (second ?? '') : first);
    const facts = await new Api(state).get<Omit<PreflightFacts, 'readiness'> & { readonly tier: Tier }>(
      '/v1/preflight',
      {
        workload,
      },
    );
    const readiness = strict ? undefined : await judgedEvidence(state, workload, facts.tier, now());
    const checks = preflight(
      { ...facts, ...(readiness === undefined ? {} : { readiness }) },
      strict ? 'strict' : 'enforce',
    );
    const failed = checks.filter(({ state }) => state === 'failed');
    if (json)
      terminal.json({ workload, for: strict ? 'strict' : 'enforce', ready: failed.length === 0, checks });
    else {
      terminal.listing([
        ['CHECK', 'RESULT', 'HAVE', 'WHAT TO DO'],
        ...checks.map((each) => [
          each.check,
          each.state === 'passed' ? 'passed' : 'FAILED',
          each.have,
          each.state === 'failed' ? each.what : '',
        ]),
      ]);
      terminal.line();
      terminal.line(failed.length === 0 ? 'Ready.' : `Not ready: ${plural(failed.length, 'check')} failed.`);
    }
    return failed.length === 0 ? EXIT.done.code : EXIT.found.code;
  },
};

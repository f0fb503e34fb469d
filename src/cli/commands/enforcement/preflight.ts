import { InterlockError, parseSpiffeId } from '../../../access/index.ts';
import type { CommandSpec } from '../../command.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';
import { plural } from '../../words.ts';
import { checkRows, checksOf, failedOf } from './checks.ts';

/** `interlock preflight`: everything that should be so before a promotion. */
export const preflightCommand: CommandSpec<ApiOptions> = {
  name: 'preflight',
  args: '<workload-or-strict> [workload]',
  summary:
    'Check what should be so before a workload is promoted to enforcement, each by name with what to do, by the gates of the control plane. "preflight strict ID" says who would be cut off by refusing plain text.',
  options: [SERVER],
  example: 'interlock preflight spiffe://example.org/ns/shop/sa/cart',
  json: '{workload, for, ready, checks: [{name, passed, reason, whatToDo?}]}',
  async run({ terminal }, [first = '', second], { state, server, json }) {
    const strict = first === 'strict';
    if (strict === (second === undefined))
      throw new InterlockError(
        'usage',
        'preflight',
        'name one workload: "preflight ID" or "preflight strict ID"',
      );
    const workload = parseSpiffeId(strict ? (second ?? '') : first);
    const checks = await checksOf({ state, server }, workload, strict ? 'strict' : 'enforce');
    const failed = failedOf(checks);
    if (json)
      terminal.json({ workload, for: strict ? 'strict' : 'enforce', ready: failed.length === 0, checks });
    else {
      terminal.listing(checkRows(checks));
      terminal.line();
      terminal.line(
        failed.length === 0 ? 'Ready.' : `Not ready: ${plural(failed.length, 'check')} not passed.`,
      );
    }
    return failed.length === 0 ? EXIT.done.code : EXIT.found.code;
  },
};

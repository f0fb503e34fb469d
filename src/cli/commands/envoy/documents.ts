import { InterlockError, parseSpiffeId } from '../../../access/index.ts';
import type { CommandSpec } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { followChange, tellProgress } from '../../control/change.ts';
import { EXIT } from '../../exit.ts';
import { readText } from '../../files.ts';

/** How long a command waits for Envoys to confirm. */
const WAIT_MS = 5000;

/** `interlock envoy apply`: which ports a workload's Envoys listen on, and whom they call. */
export const envoyApplyCommand: CommandSpec<ApiOptions> = {
  name: 'envoy apply',
  args: '<file>',
  summary:
    'Give the control plane the Proxy document of a workload (spec.workload names it): its Envoys get their listeners and clusters from it.',
  options: [SERVER],
  example: 'interlock envoy apply cart-proxy.yaml',
  json: '{workload, progress: {confirmed: [{key, ms}], waiting: [{key, connected, fault?}]}}',
  async run({ terminal }, [file = ''], { state, server, json }) {
    const api = new Api({ state, server });
    const { workload, change } = await api.call('envoy-proxies.apply', {
      body: { yaml: readText(file), file },
    });
    const progress = await followChange(api, change, WAIT_MS);
    if (json) terminal.json({ workload, progress });
    else {
      terminal.prose(`${workload} has a new Proxy document.`);
      tellProgress(terminal, progress);
    }
    return progress.waiting.length === 0 ? EXIT.done.code : EXIT.unconfirmed.code;
  },
};

/** `interlock envoy remove`: the Envoys of a workload listen no more. */
export const envoyRemoveCommand: CommandSpec<ApiOptions> = {
  name: 'envoy remove',
  args: '<workload>',
  summary: 'Take the Proxy document of a workload away: its Envoys stop listening.',
  options: [SERVER],
  example: 'interlock envoy remove spiffe://example.org/ns/shop/sa/cart',
  json: '{removed}',
  async run({ terminal }, [workload = ''], { state, server, json }) {
    if (workload === '') throw new InterlockError('usage', 'envoy remove', 'name the workload');
    const done = await new Api({ state, server }).call('envoy-proxies.remove', {
      params: { workload: parseSpiffeId(workload) },
    });
    if (json) terminal.json(done);
    else terminal.prose(`${workload} has no Proxy document any more.`);
    return EXIT.done.code;
  },
};

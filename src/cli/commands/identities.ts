import { kubernetesNameOf, type Workload } from '../../access/index.ts';
import { type CommandSpec, type CommonOptions, Option } from '../command.ts';
import { EXIT } from '../exit.ts';
import { writeFiles } from '../files.ts';
import { sharedAccountFiles } from '../shared-accounts.ts';
import { loadEstate } from '../state.ts';
import { printable, type Terminal } from '../terminal.ts';
import { idName, plural } from '../words.ts';

interface Options extends CommonOptions {
  readonly out?: string;
}

const RESTS_ON: Record<Workload['identifiedBy'], string> = {
  spiffe: 'SPIFFE ID in the data',
  'service-account': 'service account',
  'workload-name': 'workload name',
};

/** `interlock identities`: who is in the estate, what each identity rests on, and which accounts are shared. */
export const identitiesCommand: CommandSpec<Options> = {
  name: 'identities',
  summary: 'List the identities found, what each rests on, and the service accounts that are shared.',
  options: [new Option('--out <dir>', 'write the manifests that give each workload an account of its own')],
  example: 'interlock identities --out accounts/',
  json: '{identities: [{id, namespace, name, identifiedBy, serviceAccount?, inventoried, recorded}],\nsharedAccounts: [{namespace, serviceAccount, workloads}]}',
  async run({ terminal }, _args, options) {
    const { graph, facts } = await loadEstate(options.state);
    const files = sharedAccountFiles(graph.sharedAccounts, facts);
    if (options.out !== undefined) writeFiles(options.out, files);
    const workloads = [...graph.workloads.values()];
    if (options.json) {
      const identities = workloads.map(
        ({ id, namespace, name, identifiedBy, serviceAccount, inventoried, recorded }) => ({
          id,
          namespace,
          name,
          identifiedBy,
          serviceAccount,
          inventoried,
          recorded,
        }),
      );
      terminal.json({ identities, sharedAccounts: graph.sharedAccounts });
      return EXIT.done.code;
    }
    terminal.table(
      [
        ['IDENTITY', 'RESTS ON', 'ACCOUNT TODAY', 'SEEN IN'],
        ...workloads.map((w) => [
          kubernetesNameOf(w.id) === undefined ? w.id : idName(w.id, graph.trustDomain),
          RESTS_ON[w.identifiedBy],
          w.serviceAccount ?? '-',
          [w.inventoried ? 'inventory' : '', w.recorded ? 'traffic' : ''].filter(Boolean).join(', ') || '-',
        ]),
      ],
      { indent: 0 },
    );
    terminal.line();
    terminal.line(
      `${plural(workloads.length, 'identity', 'identities')} in trust domain ${graph.trustDomain}.`,
    );
    for (const { namespace, serviceAccount, workloads } of graph.sharedAccounts) {
      terminal.line();
      const account = printable(`${namespace}/${serviceAccount}`);
      terminal.line(terminal.paint('yellow', `SHARED SERVICE ACCOUNT: ${account}`));
      terminal.prose(`${plural(workloads.length, 'workload')} run under it: ${workloads.join(', ')}.`, 2);
    }
    if (files.size > 0) {
      terminal.prose(
        options.out === undefined
          ? 'Write the manifests that give each its own account with: interlock identities --out DIR'
          : `Wrote ${plural(files.size, 'file')} to ${options.out}. Put them into your manifests, or apply them, the accounts first (a patch restarts the workload's pods):`,
      );
      if (options.out !== undefined) sayApply(terminal, options.out);
    }
    return EXIT.done.code;
  },
};

function sayApply(terminal: Terminal, out: string): void {
  const dir = printable(out.replace(/\/$/, ''));
  terminal.line(`  kubectl apply -f '${dir}/*.serviceaccount.yaml'`);
  terminal.line(`  for f in '${dir}'/*.patch.yaml; do kubectl patch -f "$f" --patch-file "$f"; done`);
}

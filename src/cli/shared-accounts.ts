import { Directory, type Fact, type SharedAccount, serviceAccountManifests } from '../access/index.ts';
import { OutFiles } from './files.ts';
import { yamlText } from './yaml.ts';

/** Files that give each workload of a shared service account one of its own: the accounts, and the patches. */
export function sharedAccountFiles(
  shared: readonly SharedAccount[],
  facts: readonly Fact[],
): Map<string, string> {
  const out = new OutFiles();
  for (const { namespace, workload, account, patch } of serviceAccountManifests(
    shared,
    new Directory(facts),
  )) {
    out.add(namespace, workload, '.serviceaccount.yaml', yamlText(account));
    if (patch !== undefined) out.add(namespace, workload, '.patch.yaml', yamlText(patch));
  }
  return out.files;
}

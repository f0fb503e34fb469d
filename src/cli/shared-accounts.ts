import { stringify } from 'yaml';
import { Directory, type Fact, type SharedAccount, serviceAccountManifests } from '../access/index.ts';

/** Files that give each workload of a shared service account one of its own: the accounts, and the patches. */
export function sharedAccountFiles(
  shared: readonly SharedAccount[],
  facts: readonly Fact[],
): Map<string, string> {
  const files = new Map<string, string>();
  for (const { namespace, workload, account, patch } of serviceAccountManifests(
    shared,
    new Directory(facts),
  )) {
    const file = `${namespace}.${workload}`;
    files.set(`${file}.serviceaccount.yaml`, stringify(account));
    if (patch !== undefined) files.set(`${file}.patch.yaml`, stringify(patch));
  }
  return files;
}

import { InterlockError } from '../access/index.ts';
import { type AccessPolicy, readPolicies } from '../policy/index.ts';
import { policyFiles, readText } from './files.ts';

/** The AccessPolicy documents of a directory (its `*.yaml` and `*.yml`, not below it) or of one file, by name. */
export function readPolicyDirectory(path: string): AccessPolicy[] {
  const files = policyFiles(path);
  const policies: AccessPolicy[] = [];
  const places = new Map<string, string>();
  for (const file of files) {
    for (const policy of readPolicies(readText(file), file)) {
      const { metadata, spec } = policy;
      const key = `${spec.protects.workload}\n${metadata.name}`;
      const other = places.get(key);
      if (other !== undefined) {
        throw new InterlockError(
          'invalid_document',
          metadata.name,
          `${file} and ${other} both hold a policy "${metadata.name}" for ${spec.protects.workload}: give one another name or remove it`,
        );
      }
      places.set(key, file);
      policies.push(policy);
    }
  }
  if (policies.length === 0) {
    throw new InterlockError('not_found', path, `there is no AccessPolicy document in "${path}"`);
  }
  return policies;
}

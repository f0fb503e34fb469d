import { isInterlockError } from '../../../access/index.ts';
import { readPolicies } from '../../../policy/index.ts';
import type { Handlers } from '../handler.ts';

/** What is wrong with a text of policies, for who is writing it: nothing is kept. */
export function policyCheckHandlers(): Handlers<'policies.check'> {
  return {
    'policies.check': ({ body: { yaml } }) => {
      try {
        const policies = readPolicies(yaml).map(({ metadata, spec }) => ({
          name: metadata.name,
          workload: spec.protects.workload,
          rules: spec.rules.length,
          deny: spec.deny.length,
        }));
        return { policies };
      } catch (error) {
        if (!isInterlockError(error)) throw error;
        const { place, message, subject } = error;
        return {
          policies: [],
          fault: { what: message, subject, ...(place?.line === undefined ? {} : { line: place.line }) },
        };
      }
    },
  };
}

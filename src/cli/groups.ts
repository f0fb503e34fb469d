/** Commands of several words, by all words but the last: what stands over the list of them. */
export const GROUPS: Readonly<Record<string, string>> = {
  policy: 'The policies that the control plane holds, and how far each workload has come.',
  review:
    'What waits for a decision: changes that the evidence proposes, unused rules, questions, approvals.',
  authority: 'The authorities of a trust domain: make, serve, rotate, taint and revoke them.',
  identity: 'Who has which identity: list, explain, verify and revoke; the rules that give them.',
  'identity rules': 'The registration rules: which workloads get which SPIFFE ID.',
  cutover: 'Move workloads from one authority to another, a share at a time, and back.',
  envoy: 'Envoy as the data plane of a workload.',
  intercept: 'Redirect the connections of programs to the node proxy, without their knowing.',
  federation: 'Other trust domains whose bundles this one fetches and passes on.',
};

/** Commands of several words, by all words but the last: what stands over the list of them. */
export const GROUPS: Readonly<Record<string, string>> = {
  authority: 'The authorities of a trust domain: make, serve, rotate, taint and revoke them.',
  identity: 'Who has which identity: list, explain, verify and revoke; the rules that give them.',
  'identity rules': 'The registration rules: which workloads get which SPIFFE ID.',
  cutover: 'Move workloads from one authority to another, a share at a time, and back.',
  federation: 'Other trust domains whose bundles this one fetches and passes on.',
};

export { Estate } from './estate.ts';
export { EstateReader } from './reader.ts';
export { fromText } from './grants.ts';
export { graphOf } from './graph.ts';
export { proposalOf } from './proposal.ts';
export { countsOf, neighbours, stageText, workloadIds, workloadShown } from './workloads.ts';
export { tierOf } from './tier.ts';
export type { JudgedAccess } from './judged.ts';

export {
  DOUBT_REASONS,
  type DoubtReason,
  instancesOfCallers,
  SEVERAL_INSTANCES,
  type TimeWindow,
} from './doubts.ts';
export { type Covered, type Doubt, type Proposal, propose, type ProposeOptions } from './propose.ts';
export type { Remark } from './remarks.ts';
export { learnRoutes, type Routes, type Unwritable } from './routes.ts';

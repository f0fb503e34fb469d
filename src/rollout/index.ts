export * from './canary.ts';
export * from './decided.ts';
export * from './ends.ts';
export * from './enforcement.ts';
export { readEnforcement } from './enforcement-json.ts';
export * from './gates.ts';
export { hold } from './held.ts';
export * from './judge.ts';
export { type People, personsOf, UNKNOWN_AUTHOR } from './people.ts';
export * from './plan.ts';
export * from './preflight.ts';
export * from './promotion.ts';
export type { PromotionFacts } from './promotion-gates.ts';
export * from './rehearse.ts';
export * from './release.ts';
export * from './share.ts';
export * from './stages.ts';
export * from './target-version.ts';
export { isStricter, promotionTier, strictestTier, tierReason, withFloor } from './tiers.ts';
export * from './owners.ts';
export * from './review-apply.ts';
export * from './review-approval.ts';
export { changesOf, type ChangesInput, type ProposedRules } from './review-changes.ts';
export { isMaterial, weightOf } from './review-evidence.ts';
export {
  MOST_QUESTIONS,
  questionKey,
  questionsOf,
  questionWeight,
  undecidedFlips,
} from './review-questions.ts';
export { ruleKey, unusedRules } from './review-tightening.ts';
export * from './review-types.ts';

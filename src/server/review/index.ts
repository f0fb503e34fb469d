export { History } from './history.ts';
export { countKinds } from './items.ts';
export { Reviews } from './reviews.ts';
export type { ReviewDocument } from './document.ts';
export { shortDigest, targetHash } from './target-hash.ts';
export type { ReviewView } from './view.ts';
export { watchEvidence } from './watch-evidence.ts';

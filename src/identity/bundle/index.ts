export { derOf, formatBundle, formatJwks, formatJwtBundle, pemOf } from './format.ts';
export { fitsAlgorithm, jwtAuthorityOf, publicKeyOf } from './jwk.ts';
export {
  joinBundles,
  newerBundle,
  sameAuthorities,
  sameBundle,
  wentBack,
  withoutAuthorities,
} from './order.ts';
export { MAX_BUNDLE_BYTES, MAX_BUNDLE_KEYS, type OnSkipped, parseBundle, parseJwtBundle } from './parse.ts';
export { describeSkipped, SKIP_REASONS, type SkippedKey, type SkipReason } from './skipped.ts';
export * from './types.ts';

export { DEFAULT_LEEWAY } from './claims.ts';
export { JWT_FAULTS, type JwtFault, JwtSvidError } from './fault.ts';
export { checkIssuer, OIDC_DISCOVERY_PATH, OIDC_KEYS_PATH, oidcDiscovery } from './oidc.ts';
export { type JwtSvidRequest, newTokenId, signJwtSvid } from './sign.ts';
export { MAX_JWT_BYTES } from './token.ts';
export { type JwtSvidContext, type VerifiedJwtSvid, verifyJwtSvid } from './verify.ts';

export {
  type AuthorityIssuerOptions,
  AuthorityIssuer,
  type AuthorityOrder,
  BACK_DATE_MS,
  type IssuedChain,
  type JwtOrder,
  type X509Order,
} from './issuer.ts';
export * from './lifecycle.ts';

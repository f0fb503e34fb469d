/** The setting that holds the trust domain of identities which the data does not state. */
export const TRUST_DOMAIN_SETTING = 'trust-domain';

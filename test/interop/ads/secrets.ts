import { create } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { readFileSync } from 'node:fs';
import { coreBase, secret, spiffeValidator, tlsCommon } from '../../../src/proto/index.ts';
import type { Certificate, TestAuthority } from '../certificates.ts';

/** The certificate of a workload, under its ID. */
export function certificateSecret(name: string, { cert, key }: Certificate): secret.Secret {
  const value = create(tlsCommon.TlsCertificateSchema, {
    certificateChain: inline(cert),
    privateKey: inline(key),
  });
  return create(secret.SecretSchema, { name, type: { case: 'tlsCertificate', value } });
}

/** Trust in one authority for several trust domains, in the agent's form: Envoy's SPIFFE validator. */
export function trustSecret(authority: TestAuthority, trustDomains: readonly string[]): secret.Secret {
  const root = inline(readFileSync(authority.file, 'utf8'));
  const config = create(spiffeValidator.SPIFFECertValidatorConfigSchema, {
    trustDomains: trustDomains.map((name) => ({ name, trustBundle: root })),
  });
  const value = create(tlsCommon.CertificateValidationContextSchema, {
    customValidatorConfig: {
      name: 'envoy.tls.cert_validator.spiffe',
      typedConfig: anyPack(spiffeValidator.SPIFFECertValidatorConfigSchema, config),
    },
  });
  return create(secret.SecretSchema, { name: 'ALL', type: { case: 'validationContext', value } });
}

function inline(text: string): coreBase.DataSource {
  return create(coreBase.DataSourceSchema, { specifier: { case: 'inlineString', value: text } });
}

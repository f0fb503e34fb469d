import { create } from '@bufbuild/protobuf';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createCrl, generateKey, issueAuthority, signerOf } from '../../identity/index.ts';
import { RevocationStateSchema } from '../../proto/index.ts';
import { AgentState } from '../state/agent-state.ts';
import { Knowledge } from './knowledge.ts';

test('a serial number on a list is revoked for the authority of the list, and for no other', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-knowledge-'));
  const now = Date.now();
  const signer = signerOf(generateKey('ec-p256'));
  const certificate = await issueAuthority({
    trustDomain: 'example.org',
    notBefore: now - 1000,
    notAfter: now + 3_600_000,
    signer,
    random: randomBytes,
  });
  const revoked = [{ serial: '0a0b', at: now, reason: 'keyCompromise' }] as const;
  const crl = createCrl({ certificate, signer, revoked, number: 1, thisUpdate: now, nextUpdate: now + 1000 });
  const knowledge = new Knowledge(new AgentState(dir, () => undefined), () => undefined);
  knowledge.takeRevocations(create(RevocationStateSchema, { version: 1n, crls: [crl] }));
  expect(knowledge.isRevokedSerial(signer.keyId, '0a0b')).toBe(true);
  // Else a child authority could take the certificates of others away, by naming their serial numbers.
  expect(knowledge.isRevokedSerial(signerOf(generateKey('ec-p256')).keyId, '0a0b')).toBe(false);
  expect(knowledge.isRevokedSerial('', '0a0b')).toBe(false);
  rmSync(dir, { recursive: true });
});

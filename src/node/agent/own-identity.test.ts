import { describe, expect, test } from 'vitest';
import { create } from '@bufbuild/protobuf';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InterlockError } from '../../access/index.ts';
import { BundleStateSchema } from '../../proto/index.ts';
import { given, testDomain } from '../api/fixture.test-helper.ts';
import { AgentState } from '../state/agent-state.ts';
import { systemTimers } from '../timers.ts';
import { OwnIdentity } from './own-identity.ts';

describe("an agent's own identity", () => {
  test('that was refused once is tried again after an attestation that fails, and stays on disk', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'interlock-own-'));
    const state = new AgentState(dir, () => undefined);
    const domain = await testDomain('example.org');
    const svid = async () => ({
      ...(await domain.svid(given('interlock/agent/join_token/n1'))),
      attestor: 'join_token',
    });
    const { spiffeId, chain, key, attestor } = await svid();
    state.saveAgent({ spiffeId, chain, key, attestor });
    let attested: Awaited<ReturnType<typeof svid>> | undefined;
    let attempts = 0;
    const own = new OwnIdentity({
      timers: systemTimers,
      state,
      log: { info: () => undefined, warn: () => undefined },
      algorithm: 'ec-p256',
      attest: async () => {
        attempts++;
        if (attested === undefined)
          throw new InterlockError('untrusted', 'join token', 'it was used already');
        return { svid: attested, bundles: create(BundleStateSchema, {}) };
      },
      onBundles: () => undefined,
    });
    expect((await own.ensure()).chain).toEqual(chain);
    own.doubt();
    await expect(own.ensure()).rejects.toMatchObject({ code: 'untrusted' });
    expect((await own.ensure()).chain).toEqual(chain);
    expect(state.agent()?.chain).toEqual(chain);
    attested = await svid();
    own.doubt();
    expect((await own.ensure()).chain).toEqual(attested.chain);
    expect((await own.ensure()).chain).toEqual(attested.chain);
    expect(attempts).toBe(2);
    own.close();
    rmSync(dir, { recursive: true });
  });
});

import { describe, expect, test } from 'vitest';
import { given } from '../api/fixture.test-helper.ts';
import { Link } from '../link/link.ts';
import { ManualTimers, settle } from '../manual-timers.test-helper.ts';
import { jwtSigning, x509Signing } from './signing.ts';

describe('asking for a signature', () => {
  test('sends nothing that is larger than the control plane takes: it would end the stream of the whole node', async () => {
    const sent: unknown[] = [];
    const link = new Link({
      timers: new ManualTimers(),
      version: '1',
      open: async () => ({ send: (message) => sent.push(message.case), close: () => undefined }),
      held: () => ({ rulesVersion: 0n, serials: [] }),
      onRules: () => undefined,
      onBundles: () => undefined,
      onRevocations: () => undefined,
      onReplace: () => undefined,
      onOnline: () => undefined,
    });
    link.start();
    await settle();
    const labels = Object.fromEntries(Array.from({ length: 1024 }, (_, i) => [`k${i}`, 'x'.repeat(4096)]));
    const attributes = { docker: { container_id: 'c', image: 'i', labels } };
    const refusal = { code: 'limit', message: expect.stringContaining('fewer labels') };
    await expect(x509Signing(link, 'ec-p256')(given('web'), attributes, undefined)).rejects.toMatchObject(
      refusal,
    );
    await expect(jwtSigning(link)(given('web'), attributes, ['a'])).rejects.toMatchObject(refusal);
    expect(sent).toEqual(['hello']);
    link.close();
  });
});

import { expect, test } from 'vitest';
import type { Answer } from '../../../api/index.ts';
import { svidOf } from '../../../store/identity-contract.test-helper.ts';
import { testApi, VIEWER } from '../testing.test-helper.ts';

test('SVIDs are read page by page in the order in which they end, and from nowhere else', async () => {
  const api = await testApi();
  try {
    const now = Date.now();
    // Serials run against the ends, and some end together.
    const ends = [30, 20, 20, 20, 10].map((minutes) => now + minutes * 60_000);
    await api.serving.api.plane.recorder.commit(
      ends.map((notAfter, i) => ({ change: 'issue', svid: svidOf(`0${i}`, { issuedAt: now, notAfter }) })),
    );
    const path = `/v1/identities?order=ends&id=${encodeURIComponent(svidOf('').spiffeId)}`;
    const pages: string[][] = [];
    let after: string | undefined;
    do {
      const asked = `${path}&limit=2${after === undefined ? '' : `&after=${encodeURIComponent(after)}`}`;
      const answer = await api.ask(VIEWER, 'GET', asked);
      expect(answer.status).toBe(200);
      // Its form is checked by the API of tests.
      const page = (await answer.json()) as Answer<'identities.list'>;
      pages.push(page.identities.map(({ serial }) => serial));
      after = page.next;
    } while (after !== undefined);
    expect(pages).toEqual([['04', '01'], ['02', '03'], ['00']]);
    const refused = await api.ask(VIEWER, 'GET', `${path}&after=abc`);
    expect(await refused.json()).toMatchObject({ status: 400, title: 'usage', subject: 'abc' });
    expect(api.faults).toEqual([]);
  } finally {
    await api.close();
  }
});

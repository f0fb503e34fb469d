import { once } from 'node:events';
import { createServer } from 'node:http';
import { expect, test } from 'vitest';
import { testHttp } from '../http/testing.test-helper.ts';
import { routeOf } from './http.ts';

const TOKEN = 'a token of a scraper';

test('what is measured is for viewers and for scrapers with their token', async () => {
  const plane = await testHttp({ metricsToken: TOKEN });
  try {
    const ask = (token?: string) =>
      fetch(
        `${plane.origin}/metrics`,
        token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } },
      );
    expect([(await ask()).status, (await ask(`${TOKEN}s`)).status]).toEqual([401, 401]);
    const browser = await plane.signedIn();
    await (await browser.ask('/v1/workloads/example.org%2Fns%2Fx')).body?.cancel();
    expect((await browser.ask('/metrics')).status).toBe(200);
    const answer = await ask(TOKEN);
    const text = await answer.text();
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    for (const line of [
      'interlock_build_info{version="test"} 1',
      'interlock_agents{state="connected"} 0',
      'interlock_evidence_stuck 0',
      'interlock_svids_signed_total{kind="server"} 1',
      'interlock_http_request_duration_seconds_count{route="/v1/workloads/:workload",method="GET",status="404"} 1',
      'interlock_http_request_duration_seconds_count{route="/metrics",method="GET",status="401"} 2',
    ])
      expect(text.split('\n')).toContain(line);
    expect(text).toMatch(
      /^interlock_store_operation_duration_seconds_count\{operation="commit",result="ok"\} [1-9]/m,
    );
    expect(text).toMatch(/^process_resident_memory_bytes \d/m);
    expect(plane.faults).toEqual([]);
  } finally {
    await plane.close();
  }
});

test('paths and methods that callers make up add no labels', () => {
  expect([
    routeOf('GET', '/v1/none'),
    routeOf('GET', '/x/y'),
    routeOf('DELETE', '/v1/sessions/abc'),
    routeOf('GET', '/v1/sessions/abc'),
    routeOf('GET', '/v1/sign-in/made/up'),
  ]).toEqual(['none', 'console', '/v1/sessions/:id', 'none', '/v1/sign-in/*']);
});

interface Exported {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly { key: string; value: { stringValue?: string } }[] };
    readonly scopeSpans: readonly {
      readonly spans: readonly { name: string; traceId: string; parentSpanId?: string }[];
    }[];
  }[];
}

test('spans of calls and commits go to the endpoint that was named, in the trace of the caller', async () => {
  const got: Exported[] = [];
  const collector = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    got.push(JSON.parse(Buffer.concat(chunks).toString()));
    response.setHeader('content-type', 'application/json').end('{}');
  });
  collector.listen(0, '127.0.0.1');
  await once(collector, 'listening');
  const address = collector.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const plane = await testHttp({}, { traces: new URL(`http://127.0.0.1:${port}/v1/traces`) });
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
  const traceparent = `00-${traceId}-00f067aa0ba902b7-01`;
  await (await fetch(`${plane.origin}/v1/me`, { headers: { traceparent } })).body?.cancel();
  // The end sends what waits.
  await plane.close();
  collector.close();
  const all = got.flatMap(({ resourceSpans }) => resourceSpans);
  const spans = all.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans));
  expect(spans.find(({ name }) => name === 'GET /v1/me')).toMatchObject({
    traceId,
    parentSpanId: '00f067aa0ba902b7',
  });
  expect(spans.map(({ name }) => name)).toContain('store commit');
  const attributes = all[0]?.resource.attributes ?? [];
  expect(attributes.find(({ key }) => key === 'service.name')?.value.stringValue).toBe('interlock');
});

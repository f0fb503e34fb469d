import type { ServeOptions, Serving } from '../serve-options.ts';
import { type TestServing, testServing } from '../serving.test-helper.ts';
import type { HttpOptions } from './serve.ts';

/** A control plane with its HTTP port. */
export interface TestHttp extends TestServing {
  readonly origin: string;
  browser(): Browser;
  /** One that has signed in by a link. */
  signedIn(): Promise<Browser>;
}

export async function testHttp(
  http: Partial<HttpOptions> = {},
  over: Partial<ServeOptions> = {},
): Promise<TestHttp> {
  const plane = await testServing({
    http: { host: '127.0.0.1', port: 0, ...http },
    checkAnswers: true,
    ...over,
  });
  const { serving } = plane;
  const origin = serving.http?.origin ?? '';
  const browser = () => new Browser(origin);
  return {
    ...plane,
    origin,
    browser,
    async signedIn() {
      const one = browser();
      const answer = await one.post('/v1/sign-in/link', { secret: await secretOf(serving) });
      if (answer.status !== 200) throw new Error(await answer.text());
      return one;
    },
  };
}

/** The secret of a new link. */
export async function secretOf(serving: Serving): Promise<string> {
  const link = await serving.makeLink?.();
  return link?.url.split('#')[1] ?? '';
}

/** As much of a browser as a sign-in needs: cookies of each host, and the headers that a page cannot forge. */
export class Browser {
  readonly origin: string;
  readonly cookies = new Map<string, Map<string, string>>();

  constructor(origin: string) {
    this.origin = origin;
  }

  /** One request; redirects are not followed. */
  async ask(path: string, init: RequestInit = {}): Promise<Response> {
    const url = new URL(path, this.origin);
    const jar = this.cookies.get(url.host) ?? new Map<string, string>();
    this.cookies.set(url.host, jar);
    const headers = new Headers(init.headers);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    if (cookie !== '') headers.set('cookie', cookie);
    const answer = await fetch(url, { ...init, headers, redirect: 'manual' });
    for (const line of answer.headers.getSetCookie()) {
      const [pair = '', ...attributes] = line.split(';');
      const at = pair.indexOf('=');
      const name = pair.slice(0, at);
      const isGone = attributes.some((each) => /^\s*(max-age=0|expires=thu, 01 jan 1970)/i.test(each));
      if (isGone) jar.delete(name);
      else jar.set(name, pair.slice(at + 1));
    }
    return answer;
  }

  post(path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    const all = {
      'content-type': 'application/json',
      origin: this.origin,
      'sec-fetch-site': 'same-origin',
      ...headers,
    };
    return this.ask(path, { method: 'POST', body: JSON.stringify(body), headers: all });
  }

  /** Follows redirects as far as `until`, and gives the last answer with its address. */
  async follow(
    path: string,
    until: (url: URL) => boolean = () => false,
  ): Promise<{ url: URL; answer: Response }> {
    let url = new URL(path, this.origin);
    for (let i = 0; i < 20; i++) {
      const answer = await this.ask(url.href);
      const to = answer.headers.get('location');
      if (to === null) return { url, answer };
      await answer.body?.cancel();
      url = new URL(to, url);
      if (until(url)) return { url, answer };
    }
    throw new Error(`too many redirects, the last to ${url.href}`);
  }

  /** Sends the form of a page, with these fields beside its hidden ones. */
  async submit(
    page: string,
    url: URL,
    fields: Readonly<Record<string, string>>,
  ): Promise<{ url: URL; answer: Response }> {
    const action = /<form[^>]*action="([^"]*)"/.exec(page)?.[1]?.replaceAll('&amp;', '&') ?? url.href;
    const hidden = [...page.matchAll(/<input[^>]*type="hidden"[^>]*>/g)].map(([tag]) => [
      /name="([^"]*)"/.exec(tag)?.[1] ?? '',
      /value="([^"]*)"/.exec(tag)?.[1] ?? '',
    ]);
    const target = new URL(action, url);
    const answer = await this.ask(target.href, {
      method: 'POST',
      body: new URLSearchParams([...hidden, ...Object.entries(fields)]),
    });
    return { url: target, answer };
  }

  get session(): string | undefined {
    const jar = this.cookies.get(new URL(this.origin).host) ?? new Map<string, string>();
    return [...jar].find(([name]) => name.endsWith('-session'))?.[1];
  }
}

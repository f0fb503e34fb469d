import { requestPermission } from '../../src/engines/envoy/permissions.ts';
import { matchTemplate, type PathTemplate, parseTemplate } from '../../src/policy/index.ts';
import type { TestAuthority } from './certificates.ts';
import type { ListenerSpec } from './envoy-config.ts';
import { requestBytes, sendRaw } from './raw-client.ts';

type Json = Readonly<Record<string, unknown>>;

const TEMPLATES = ['/a/{x}', '/a/{x}/b', '/a/{x}/', '/a/{x=**}', '/a/{x}/{y=**}', '/a.b/{x}', '/a+(b)/{x}'];
const PATHS = `/a /a/ /a/b /a/b/ /a/b/c /a/b/b /a/x/b /a/x/ /a/x/y/z /aXb/x /a.b/x /a+(b)/x /aab/x
  /a/b=c /a/b*c /a/* /a/[b] /a/b;c /a/b,c /a/b'c /a/b!c /a/b@c:d /a/b~c /a/b$c&d+e /a/(b)
  /a/%20 /a/b%3Dc /a/%C3%A9 /a/%25 /a/..b /a/b?c=/d /a/b?c=d/e`.split(/\s+/);

/** How often each way of matching agrees with the policy's templates, and where it does not. */
export interface TemplateResult {
  readonly cases: number;
  readonly rendered: readonly string[];
  readonly uriTemplate: readonly string[];
}

const [ADDRESS, PORT] = ['127.78.1.1', 20_100];

/** For each template one listener with what is rendered for it, and one with Envoy's uri_template. */
export function templateListeners(): ListenerSpec[] {
  return TEMPLATES.flatMap((text, i) => [
    listener(
      PORT + 2 * i,
      requestPermission({ kind: 'http', ports: undefined, methods: undefined, paths: [read(text)] }),
    ),
    listener(PORT + 2 * i + 1, uriTemplate(text)),
  ]);
}

export async function probeTemplates(authority: TestAuthority): Promise<TemplateResult> {
  const differs: { rendered: string[]; uriTemplate: string[] } = { rendered: [], uriTemplate: [] };
  const cases = TEMPLATES.flatMap((text, i) => PATHS.map((path) => ({ text, i, path })));
  await Promise.all(
    cases.map(async ({ text, i, path }) => {
      const expected = matchTemplate(read(text), path.replace(/\?.*/, ''));
      const [rendered, template] = await Promise.all(
        [0, 1].map((k) => allows(authority, PORT + 2 * i + k, path)),
      );
      if (rendered !== expected) differs.rendered.push(`${text} ${path}`);
      if (template !== expected) differs.uriTemplate.push(`${text} ${path}`);
    }),
  );
  return { cases: cases.length, rendered: differs.rendered.sort(), uriTemplate: differs.uriTemplate.sort() };
}

async function allows(authority: TestAuthority, port: number, path: string): Promise<boolean> {
  const identity = authority.leaf('spiffe://interop.test/client');
  const target = { host: ADDRESS, port, localAddress: '127.1.2.3', identity };
  return (await sendRaw(target, requestBytes('GET', path, 'h'), true)).status === 200;
}

function read(text: string): PathTemplate {
  const parsed = parseTemplate(text);
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.template;
}

function listener(port: number, permission: unknown): ListenerSpec {
  const policies = { only: { permissions: [permission], principals: [{ any: true }] } };
  const filter: Json = {
    name: 'envoy.filters.http.rbac',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC',
      rules: { action: 'ALLOW', policies },
    },
  };
  const manager = {
    normalize_path: true,
    merge_slashes: true,
    path_with_escaped_slashes_action: 'REJECT_REQUEST',
  };
  return { address: ADDRESS, port, http: { manager, filters: [filter] } };
}

function uriTemplate(text: string): Json {
  return {
    uri_template: {
      name: 'envoy.path.match.uri_template.uri_template_matcher',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig',
        path_template: text,
      },
    },
  };
}

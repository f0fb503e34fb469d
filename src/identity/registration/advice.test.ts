import { expect, test } from 'vitest';
import { adviceFor } from './advice.ts';
import { ruleText } from './example.test-helper.ts';
import { compileRules, readIdentityRules } from './index.ts';

test.each<[string, string, RegExp[]]>([
  ['any node', 'spiffeId: "/ns/{k8s.namespace}"', [/no "nodes": whoever takes over one node/]],
  [
    'any process',
    'spiffeId: "/ci/{claims.project}", nodes: { when: "has(claims.project)" }',
    [/every process on those nodes/],
  ],
  ['everything', 'spiffeId: /all, when: "true"', [/no "nodes"/]],
  ['nothing', 'spiffeId: "/u/{unix.uid}", nodes: { selectors: ["agent:attestor:oidc"] }', []],
  [
    'a child for everything',
    'spiffeId: /c, nodes: { selectors: ["agent:attestor:oidc"] }, downstream: { unlimited: true }',
    [/every path of the trust domain/],
  ],
])('advice names what a rule opens to: %s', (_what, spec, expected) => {
  const [rule] = compileRules(readIdentityRules(ruleText(spec)), 'example.org').rules;
  const advice = rule === undefined ? ['no rule'] : adviceFor(rule);
  expect(advice).toEqual(expected.map((pattern) => expect.stringMatching(pattern)));
});

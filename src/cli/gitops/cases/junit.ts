import type { Outcome } from './judge.ts';

/**
 * Characters that no XML 1.0 document may hold, escaped or not (section 2.2), and lone surrogates, which are no characters.
 */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const FORBIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Cs}/gu;

/** Text for an attribute or between tags. What XML cannot hold stands as the escape that JSON has for it. */
export function xmlText(text: string): string {
  return (
    text
      .replaceAll(FORBIDDEN, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      // Also ends the "]]>" that must not stand in text (section 2.4).
      .replaceAll('>', '&gt;')
      .replaceAll('"', '&quot;')
      .replaceAll("'", '&apos;')
      .replaceAll(/[\t\n\r]/g, (c) => `&#${c.charCodeAt(0)};`)
  );
}

/**
 * Outcomes as a JUnit report, in the form that the servers of CI read: suites of cases, each with at most one failure. It fits
 * the schema by which Jenkins checks reports (junit-10.xsd of its xUnit plugin), in which the root counts nothing skipped.
 */
export function junitReport(outcomes: readonly Outcome[]): string {
  const suites = [...Map.groupBy(outcomes, ({ suite }) => suite)].map(([suite, list]) => {
    const cases = list.map(caseText).join('');
    const skipped = ` skipped="${countOf(list, 'skipped')}"`;
    return `  <testsuite name="${xmlText(suite)}" ${countsText(list)}${skipped}>\n${cases}  </testsuite>\n`;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="interlock" ${countsText(outcomes)}>\n${suites.join('')}</testsuites>\n`;
}

function countsText(outcomes: readonly Outcome[]): string {
  return `tests="${outcomes.length}" failures="${countOf(outcomes, 'failed')}" errors="0"`;
}

const countOf = (outcomes: readonly Outcome[], wanted: Outcome['outcome']) =>
  outcomes.filter(({ outcome }) => outcome === wanted).length;

function caseText({ suite, name, outcome, why = '' }: Outcome): string {
  const start = `    <testcase classname="${xmlText(suite)}" name="${xmlText(name)}"`;
  if (outcome === 'passed') return `${start}/>\n`;
  const inside =
    outcome === 'failed'
      ? `<failure message="${xmlText(why)}">${xmlText(why)}</failure>`
      : `<skipped message="${xmlText(why)}"/>`;
  return `${start}>\n      ${inside}\n    </testcase>\n`;
}

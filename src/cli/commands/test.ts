import { closeSync, constants, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { InterlockError } from '../../access/index.ts';
import { compile } from '../../policy/index.ts';
import { type CommandSpec, type CommonOptions, Option } from '../command.ts';
import { EXIT } from '../exit.ts';
import { ioError } from '../files.ts';
import { judgeCase, judgeRecording, type Judging, type Outcome } from '../gitops/cases/judge.ts';
import { junitReport } from '../gitops/cases/junit.ts';
import { readTests } from '../gitops/cases/read.ts';
import { readRecorded } from '../gitops/cases/recorded.ts';
import { readDirectory } from '../gitops/documents.ts';
import type { Terminal } from '../terminal.ts';
import { printable } from '../terminal.ts';
import { plural } from '../words.ts';

interface Options extends CommonOptions {
  readonly policies?: string;
  readonly junit?: string;
}

/** A link is not followed: in the checkout of somebody else it may lead to any file of whoever runs the tests. */
const REPORT = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
/** Failures that are printed; --json and --junit have all. */
const MOST_SHOWN = 50;

/** `interlock test DIR`: what policies decide, against what is expected of them. */
export const testCommand: CommandSpec<Options> = {
  name: 'test',
  args: '<dir>',
  summary:
    'Test the policies below a directory against its PolicyTest documents: cases, and recorded accesses that have to be allowed. Needs no control plane. Exit 1 if a test fails, or if there is none.',
  options: [
    new Option('--policies <dir>', 'where the policies are, if not below the same directory'),
    new Option('--junit <file>', 'write the result as JUnit XML, for CI'),
  ],
  example: 'interlock test policies/ --junit results.xml',
  json: '{tests, passed, failed, skipped, outcomes: [{suite, name, outcome: passed|failed|skipped, why?}]}',
  async run({ terminal, now }, [dir = ''], { policies = dir, junit, json }) {
    const { root, tests, leftOut } = readTests(dir);
    const { policies: documents, leftOut: policiesOut } = await readDirectory(policies);
    for (const { path, why } of policies === dir ? leftOut : [...leftOut, ...policiesOut])
      terminal.remark(`Left out: ${path}, ${why}.`);
    const judging: Judging = {
      set: compile([...documents.values()].map(({ document }) => document)),
      at: now(),
    };

    const outcomes = tests.flatMap(({ file, test: { metadata, spec } }) => {
      const suite = `${file}: ${metadata.name}`;
      return [
        ...spec.cases.map((one) => judgeCase(judging, suite, one)),
        ...spec.recordings.flatMap((recording) =>
          judgeRecording(judging, suite, recording, readRecorded(root, file, recording.file)),
        ),
      ];
    });
    if (outcomes.length === 0)
      throw new InterlockError(
        'not_found',
        dir,
        `there is no PolicyTest below "${dir}": docs/gitops.md says how one is written`,
      );
    if (junit !== undefined) writeReport(junit, junitReport(outcomes));
    if (json) terminal.json({ ...countsOf(outcomes), outcomes });
    else tell(terminal, outcomes);
    return outcomes.some(({ outcome }) => outcome === 'failed') ? EXIT.failed.code : EXIT.done.code;
  },
};

function countsOf(outcomes: readonly Outcome[]) {
  const count = (wanted: Outcome['outcome']) => outcomes.filter(({ outcome }) => outcome === wanted).length;
  return {
    tests: outcomes.length,
    passed: count('passed'),
    failed: count('failed'),
    skipped: count('skipped'),
  };
}

function tell(terminal: Terminal, outcomes: readonly Outcome[]): void {
  const failures = outcomes.filter(({ outcome }) => outcome === 'failed');
  for (const { suite, name, why = '' } of failures.slice(0, MOST_SHOWN)) {
    terminal.line(`${terminal.paint('red', 'FAIL')} ${printable(`${suite}: ${name}`)}`);
    terminal.prose(why, 5);
  }
  if (failures.length > MOST_SHOWN)
    terminal.line(
      `and ${plural(failures.length - MOST_SHOWN, 'failure')} more (--json and --junit have all)`,
    );
  if (failures.length > 0) terminal.line();
  const { passed, failed, skipped } = countsOf(outcomes);
  const left = skipped === 0 ? '' : `, ${skipped} left out: no policy here protects the callee`;
  terminal.line(`${plural(outcomes.length, 'test')}: ${passed} passed, ${failed} failed${left}.`);
}

function writeReport(file: string, text: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
    const handle = openSync(file, REPORT, 0o666);
    try {
      writeFileSync(handle, text);
    } finally {
      closeSync(handle);
    }
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ELOOP')
      throw new InterlockError(
        'io',
        file,
        `"${file}" is a symbolic link: the report is not written through it`,
        { cause },
      );
    throw ioError(file, cause);
  }
}

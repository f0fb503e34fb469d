import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { InterlockError, type Tally } from '../../access/index.ts';
import { FORMATS, type Format, type ReadOutcome, readRecordings } from '../../sources/index.ts';
import { openSqliteStore, type Recording, type Store } from '../../store/index.ts';
import {
  type CommandSpec,
  type CommonOptions,
  type Context,
  fieldOption,
  Option,
  trustDomainOption,
} from '../command.ts';
import { EXIT } from '../exit.ts';
import { printObserved, type Taken } from '../observed.ts';
import { Progress } from '../progress.ts';
import { readEstate, setTrustDomain } from '../state.ts';

interface Options extends CommonOptions {
  readonly format: Format | 'auto';
  readonly trustDomain?: string;
  readonly field?: Readonly<Record<string, string>>;
}

/** `interlock observe FILE...`: reads recordings into the state. */
export const observeCommand: CommandSpec<Options> = {
  name: 'observe',
  args: '<file...>',
  summary:
    'Read recorded traffic and manifests into the state. "-" is standard input; .gz and .zst are read as they are.',
  options: [
    new Option('--format <format>', 'format of the files').choices(['auto', ...FORMATS]).default('auto'),
    new Option(
      '--trust-domain <name>',
      'trust domain of identities that the data does not state (kept in the state)',
    ).argParser(trustDomainOption),
    new Option(
      '--field <key=operator>',
      "an access log's JSON key and the Envoy operator it holds; may be repeated",
    ).argParser(fieldOption),
  ],
  example: 'interlock observe manifests.yaml traces.otlp.jsonl.gz --trust-domain example.org',
  json: '{files: [{file, format, state: taken|known|failed, error?}], recordings: [{format, read, accepted,\nskips: [{reason, count, firstLine, sample}], lost}], totals: {read, accepted, skipped, lost, identities, accesses},\nsharedAccounts: [{namespace, serviceAccount, workloads}],\nblindSpots: [{kind, from, to, what, count, firstSeen, lastSeen}]}',
  async run(context, files, options) {
    refuseAllMissing(files);
    const store = openSqliteStore(options.state, { create: true });
    try {
      if (options.trustDomain !== undefined) await setTrustDomain(store, options.trustDomain);
      const taken = await takeIn(store, files, options, context);
      const { graph } = await readEstate(store);
      printObserved(context.terminal, taken, graph, options.json === true);
      if (taken.failed.length === 0) return EXIT.done.code;
      return EXIT.failed.code;
    } finally {
      await store.close();
    }
  },
};

/** A command of which no file exists makes no state: the next one would say that it holds nothing. */
function refuseAllMissing(files: readonly string[]): void {
  if (files.some((file) => file === '-' || existsSync(file))) return;
  throw new InterlockError('not_found', files.join(', '), `there is no file ${files.join(', ')}`);
}

async function takeIn(
  store: Store,
  files: readonly string[],
  options: Options,
  { terminal, now }: Context,
): Promise<Taken> {
  const digests = await store.digests();
  const carries = new Map<string, unknown>();
  for (const format of FORMATS) carries.set(format, await store.carry(format));
  const progress = new Progress(terminal);
  const taken: Taken = { recordings: [], known: [], failed: [] };
  const outcomes = readRecordings(files, {
    format: options.format === 'auto' ? undefined : options.format,
    fields: options.field,
    now: now(),
    facts: await store.facts(),
    known: (digest) => digests.has(digest),
    carry: (format) => carries.get(format),
    onProgress: ({ file, done, total }) => progress.step({ what: basename(file), done, total }),
  });
  for await (const outcome of outcomes) {
    progress.end();
    await keep(store, outcome, taken);
  }
  progress.end();
  return taken;
}

async function keep(store: Store, outcome: ReadOutcome, taken: Taken): Promise<void> {
  switch (outcome.kind) {
    case 'known':
      taken.known.push(outcome.file.name);
      return;
    case 'failed':
      taken.failed.push({ files: outcome.files, error: outcome.error });
      return;
    case 'read': {
      const { recording, tally, carry } = outcome;
      try {
        if (await store.addRecording(recording, tally, carry))
          taken.recordings.push(summary(recording, tally));
        else taken.known.push(...recording.files.map(({ name }) => name));
      } catch (error) {
        if (!(error instanceof InterlockError)) throw error;
        taken.failed.push({ files: recording.files.map(({ name }) => name), error });
      }
    }
  }
}

function summary(recording: Pick<Recording, 'format' | 'files' | 'takenAt'>, tally: Tally): Recording {
  const { read, accepted, lost, firstSeen, lastSeen } = tally;
  return { ...recording, read, accepted, skips: [...tally.skips()], lost, firstSeen, lastSeen };
}

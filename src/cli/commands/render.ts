import { InterlockError, type SpiffeId, type Workload } from '../../access/index.ts';
import { ENGINES, type EngineName, engineNamed, type Loss, type Rendering } from '../../engines/index.ts';
import type { AccessPolicy } from '../../policy/index.ts';
import { type CommandSpec, type CommonOptions, Option } from '../command.ts';
import { EXIT } from '../exit.ts';
import { readPolicyDirectory, writeFiles } from '../files.ts';
import { loadEstate, stateExists } from '../state.ts';
import { printable, type Terminal, WIDTH, wrap } from '../terminal.ts';
import { plural } from '../words.ts';
import { yamlText } from '../yaml.ts';

interface Options extends CommonOptions {
  readonly engine: EngineName;
  readonly shadow?: true;
  readonly out?: string;
  readonly allowWider?: readonly string[];
}

/** `interlock render DIR`: the documents of the engine that the user runs, and what they cannot say. */
export const renderCommand: CommandSpec<Options> = {
  name: 'render',
  args: '<dir>',
  summary: "Write a policy set as an engine's own documents, and say what they cannot express.",
  options: [
    new Option('--engine <engine>', 'the engine').choices(ENGINES).makeOptionMandatory(),
    new Option('--shadow', 'documents that report what they would deny, and deny nothing'),
    new Option('--out <dir>', 'write files instead of printing the documents'),
    new Option('--allow-wider <code...>', 'accept losses of these codes that allow more than the policy'),
  ],
  example: 'interlock render policies/ --engine istio --out istio/',
  json: '{engine, shadow, documents: [{file, content}], losses: [{effect: narrower|wider|same, code,\npolicy, rule?, what}]}',
  async run({ terminal }, [dir = ''], options) {
    const policies = readPolicyDirectory(dir);
    const workloads = stateExists(options.state)
      ? (await loadEstate(options.state)).graph.workloads
      : undefined;
    const rendering = engineNamed(options.engine).render(policies, {
      shadow: options.shadow === true,
      workload: (id) => workloads?.get(id),
      ...(workloads === undefined ? {} : { workloads: [...workloads.values()] }),
    });
    refuseWider(rendering, options);
    const files = new Map(rendering.documents.map(({ file, content }) => [file, yamlText(content)]));
    if (files.size < rendering.documents.length) {
      throw new TypeError(`two documents for ${options.engine} have one file name: one would be lost`);
    }
    if (options.out !== undefined) writeFiles(options.out, files);
    if (options.json)
      terminal.json({ engine: options.engine, shadow: options.shadow === true, ...rendering });
    else {
      print(terminal, rendering, files, options, workloads !== undefined);
      const early = workloads === undefined ? [] : unheld(policies, workloads);
      if (early.length > 0) sayUnheld(terminal, early);
    }
    return EXIT.done.code;
  },
};

/** A rendering that allows more than is written is refused unless every such loss is named. */
function refuseWider({ losses }: Rendering, { allowWider = [], engine }: Options): void {
  const wider = losses.filter(({ effect, code }) => effect === 'wider' && !allowWider.includes(code));
  if (wider.length === 0) return;
  const codes = [...new Set(wider.map(({ code }) => code))];
  const first = wider[0] as Loss;
  throw new InterlockError(
    'wider',
    engine,
    `${engine} would allow more than the policies do (${plural(wider.length, 'place')}; first: ${first.policy}${first.rule === undefined ? '' : `, rule ${first.rule}`}: ${first.what}). ` +
      `Nothing was written. If that is acceptable, add: --allow-wider ${codes.join(' ')}`,
  );
}

function print(
  terminal: Terminal,
  { losses }: Rendering,
  files: ReadonlyMap<string, string>,
  { out, engine, shadow }: Options,
  hasState: boolean,
): void {
  if (out === undefined) {
    for (const text of files.values()) terminal.out.write(`---\n${text}`);
  } else
    terminal.line(
      `Wrote ${plural(files.size, 'document')} for ${engine}${shadow ? ' (shadow)' : ''} to ${out}.`,
    );
  const say = (text: string, indent: number) => {
    if (out === undefined) terminal.err.write(`${' '.repeat(indent)}${printable(text)}\n`);
    else terminal.prose(text, indent);
  };
  if (!hasState) say('No state here: workloads are selected by the label app: NAME.', 0);
  const differing = losses.filter(({ effect }) => effect !== 'same');
  if (differing.length === 0) say('Losses: none. The documents say what the policies say.', 0);
  else say(`Losses: ${plural(differing.length, 'place')} where the documents differ from the policies.`, 0);
  sayLosses(differing, say);
  const remarks = losses.filter(({ effect }) => effect === 'same');
  if (remarks.length > 0) say('To know, though it changes no verdict:', 0);
  sayLosses(remarks, say);
}

function sayLosses(losses: readonly Loss[], say: (text: string, indent: number) => void): void {
  for (const group of Map.groupBy(losses, (l) => `${l.effect} ${l.code} ${l.what}`).values()) {
    const { effect, code, what } = group[0] as Loss;
    const places = group.map(({ policy, rule }) => (rule === undefined ? policy : `${policy}/${rule}`));
    const where = [...new Set(places)];
    const named = where.slice(0, 4).join(', ') + (where.length > 4 ? ` and ${where.length - 4} more` : '');
    say(`${effect === 'same' ? '' : `${effect.toUpperCase()} `}(${code}) ${what} In: ${named}.`, 2);
  }
}

/** Identities that the documents name and nobody holds yet: workloads that still share a service account. */
function unheld(policies: readonly AccessPolicy[], workloads: ReadonlyMap<SpiffeId, Workload>): string[] {
  const named = policies.flatMap(({ spec }) => [
    spec.protects.workload,
    ...spec.rules.flatMap(({ from }) => from.flatMap((f) => ('workload' in f ? [f.workload] : []))),
  ]);
  return [...new Set<string>(named)].filter((id) => {
    // Wildcards are no key of the map.
    const workload = workloads.get(id as SpiffeId);
    return workload?.identifiedBy === 'workload-name' && workload.serviceAccount !== undefined;
  });
}

function sayUnheld(terminal: Terminal, early: readonly string[]): void {
  const text =
    `BEFORE YOU APPLY THEM: ${plural(early.length, 'identity', 'identities')} in these documents (first: ${early[0]}) will be held ` +
    'only once each workload has a service account of its own. Until then enforcing them denies those callers. ' +
    'Write the accounts with: interlock identities --out DIR';
  terminal.err.write(`${wrap(printable(text), WIDTH).join('\n')}\n`);
}

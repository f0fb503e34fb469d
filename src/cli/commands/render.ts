import { InterlockError, type SpiffeId, type Workload } from '../../access/index.ts';
import { ENGINES, type EngineName, engineNamed, type Loss, type Rendering } from '../../engines/index.ts';
import type { AccessPolicy } from '../../policy/index.ts';
import { type CommandSpec, type CommonOptions, Option } from '../command.ts';
import { EXIT } from '../exit.ts';
import { writeFiles } from '../files.ts';
import { readPolicyDirectory } from '../policy-directory.ts';
import { loadEstate, stateExists } from '../state.ts';
import type { Terminal } from '../terminal.ts';
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
  async run({ terminal, now }, [dir = ''], options) {
    const policies = readPolicyDirectory(dir);
    const workloads = stateExists(options.state)
      ? (await loadEstate(options.state)).graph.workloads
      : undefined;
    const rendering = engineNamed(options.engine).render(policies, {
      shadow: options.shadow === true,
      at: now(),
      workload: (id) => workloads?.get(id),
      ...(workloads === undefined ? {} : { workloads: [...workloads.values()] }),
    });
    refuseWider(terminal, rendering, options);
    const files = new Map(rendering.documents.map(({ file, content }) => [file, yamlText(content)]));
    if (files.size < rendering.documents.length) {
      throw new TypeError(`two documents for ${options.engine} have one file name: one would be lost`);
    }
    if (options.out !== undefined) writeFiles(options.out, files);
    if (options.json)
      terminal.json({ engine: options.engine, shadow: options.shadow === true, ...rendering });
    else {
      print(terminal, rendering, files, options, workloads !== undefined);
      const early = workloads === undefined || !namesIdentities(rendering) ? [] : unheld(policies, workloads);
      if (early.length > 0) sayUnheld(terminal, early);
    }
    return EXIT.done.code;
  },
};

/** A rendering that allows more than is written is refused unless every such loss is named. */
function refuseWider(
  terminal: Terminal,
  { losses }: Rendering,
  { allowWider = [], engine, json }: Options,
): void {
  const wider = losses.filter(({ effect, code }) => effect === 'wider' && !allowWider.includes(code));
  if (wider.length === 0) return;
  const codes = [...new Set(wider.map(({ code }) => code))];
  const first = wider[0] as Loss;
  const aside = terminal.aside();
  // All of them, since each is about to be accepted by name; a program reads the first.
  if (json !== true) sayLosses(wider, (text, indent) => aside.prose(text, indent));
  const example = `; first: ${first.policy}${first.rule === undefined ? '' : `, rule ${first.rule}`}: ${first.what}`;
  throw new InterlockError(
    'wider',
    engine,
    `${engine} would allow more than the policies do (${plural(wider.length, 'place')}${json === true ? example : ', above'}). ` +
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
  const remarks = out === undefined ? terminal.aside() : terminal;
  const say = (text: string, indent: number) => remarks.prose(text, indent);
  if (!hasState) say('No state here: workloads are selected by the label app: NAME.', 0);
  const differing = losses.filter(({ effect }) => effect !== 'same');
  if (differing.length === 0) say('Losses: none. The documents say what the policies say.', 0);
  else say(`Losses: ${plural(differing.length, 'place')} where the documents differ from the policies.`, 0);
  sayLosses(differing, say);
  const same = losses.filter(({ effect }) => effect === 'same');
  if (same.length > 0) say('To know when you apply them:', 0);
  sayLosses(same, say);
}

/** One paragraph a code; where each workload has its own sentence, the first stands for all. */
function sayLosses(losses: readonly Loss[], say: (text: string, indent: number) => void): void {
  for (const group of Map.groupBy(losses, (l) => `${l.effect} ${l.code}`).values()) {
    const { effect, code, what } = group[0] as Loss;
    const sentences = new Set(group.map((loss) => loss.what)).size;
    const likewise = sentences === 1 ? '' : ` Likewise ${plural(sentences - 1, 'other')}.`;
    const places = group.map(({ policy, rule }) => (rule === undefined ? policy : `${policy}/${rule}`));
    const where = [...new Set(places)];
    const named = where.slice(0, 4).join(', ') + (where.length > 4 ? ` and ${where.length - 4} more` : '');
    say(
      `${effect === 'same' ? '' : `${effect.toUpperCase()} `}(${code}) ${what}${likewise} In: ${named}.`,
      2,
    );
  }
}

/** Whether callers are known by the policies' own identities, not by a pod's labels or the account it has today. */
function namesIdentities({ losses }: Rendering): boolean {
  return !losses.some(({ code }) => code === 'label-not-identity' || code === 'shared-account');
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
  terminal.aside().prose(text);
}

import { InterlockError } from '../../access/index.ts';
import { ENGINES, type EngineName, engineNamed, type Loss, type Rendering } from '../../engines/index.ts';
import { type CommandSpec, type CommonOptions, Option } from '../command.ts';
import { EXIT } from '../exit.ts';
import { readPolicyDirectory, writeFiles } from '../files.ts';
import { loadEstate, stateExists } from '../state.ts';
import { printable, type Terminal } from '../terminal.ts';
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
    });
    refuseWider(rendering, options);
    const files = new Map(rendering.documents.map(({ file, content }) => [file, yamlText(content)]));
    if (options.out !== undefined) writeFiles(options.out, files);
    if (options.json)
      terminal.json({ engine: options.engine, shadow: options.shadow === true, ...rendering });
    else print(terminal, rendering, files, options, workloads !== undefined);
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
  if (losses.length === 0) {
    say('Losses: none. The documents say what the policies say.', 0);
    return;
  }
  say(`Losses: ${plural(losses.length, 'place')} where the documents differ from the policies.`, 0);
  for (const [effect, group] of Map.groupBy(losses, (l) => `${l.effect} ${l.code} ${l.what}`)) {
    const first = group[0] as Loss;
    const where = [
      ...new Set(group.map(({ policy, rule }) => (rule === undefined ? policy : `${policy}/${rule}`))),
    ];
    const places =
      where.length > 4 ? `${where.slice(0, 4).join(', ')} and ${where.length - 4} more` : where.join(', ');
    if (effect !== '') say(`${first.effect.toUpperCase()} (${first.code}): ${first.what} In: ${places}.`, 2);
  }
}

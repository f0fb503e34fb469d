import { dirname, resolve } from 'node:path';
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { InterlockError } from '../../access/index.ts';
import { InvalidArgumentError } from '../command.ts';
import { readText } from '../files.ts';
import {
  attributeOf,
  SETTING_NAMES,
  type SettingName,
  settingOf,
  type Settings,
  variableOf,
} from './settings.ts';

/** Where settings are looked for. */
export interface Sources {
  /** As the command line gave them: by the attribute's name, read already. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly file?: string | undefined;
}

/** The settings: a flag wins over the environment, which wins over the file. Throws `usage`, `invalid_document`, `not_found`, `io`. */
export function readSettings({ flags, env, file }: Sources): Settings {
  const values: Record<string, unknown> = file === undefined ? {} : fromFile(file);
  for (const name of SETTING_NAMES) {
    const variable = variableOf(name);
    const given = env[variable];
    if (given !== undefined && given !== '') values[name] = fromVariable(name, variable, given);
    const flag = flags[attributeOf(name)];
    if (flag !== undefined) values[name] = flag;
  }
  return values;
}

function fromVariable(name: SettingName, variable: string, given: string): unknown {
  const { isList } = settingOf(name);
  const read = (text: string) =>
    checked(name, text, (reason) => new InterlockError('usage', variable, `${variable}: ${reason}`));
  return isList === true ? given.split(',').map((part) => read(part.trim())) : read(given);
}

function fromFile(file: string): Record<string, unknown> {
  const lines = new LineCounter();
  const document = parseDocument(readText(file), { lineCounter: lines });
  const fault = (reason: string, at: number | undefined): InterlockError => {
    const line = at === undefined ? undefined : lines.linePos(at).line;
    return new InterlockError('invalid_document', file, reason, { place: { file, line } });
  };
  const [error] = document.errors;
  if (error !== undefined) throw fault(error.message.split('\n', 1)[0] ?? 'it is no YAML', error.pos[0]);
  const values: Record<string, unknown> = {};
  if (document.contents === null) return values;
  if (!isMap(document.contents)) throw fault('settings are written NAME: value', 0);
  for (const { key, value } of document.contents.items) {
    const at = (key as Node).range?.[0];
    const name = SETTING_NAMES.find((known) => isScalar(key) && known === key.value);
    if (name === undefined)
      throw fault(`there is no setting "${String(key).slice(0, 80)}": docs/up.md lists them`, at);
    const read = (node: unknown) => {
      const value = isScalar(node) ? node.value : undefined;
      if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean')
        throw fault(`"${name}" is one value, not ${isSeq(node) ? 'a list' : 'a group'}`, at);
      const given = settingOf(name).isFile ? beside(file, String(value)) : String(value);
      return checked(name, given, (reason) => fault(`"${name}": ${reason}`, at));
    };
    const isList = settingOf(name).isList === true;
    values[name] = isList ? (isSeq(value) ? value.items : [value]).map(read) : read(value);
  }
  return values;
}

/** Files are named as seen from the file that names them. */
function beside(file: string, name: string): string {
  return name === '' ? '' : resolve(dirname(file), name);
}

function checked(name: SettingName, text: string, fault: (reason: string) => InterlockError): unknown {
  try {
    return settingOf(name).read(text);
  } catch (error) {
    if (error instanceof InvalidArgumentError) throw fault(error.message);
    throw error;
  }
}

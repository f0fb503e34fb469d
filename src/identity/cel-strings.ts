import { type CelList, celList, celMethod, CelScalar, listType } from '@bufbuild/cel';
import { strings } from '@bufbuild/cel/ext';

/** Longest text that a growing function makes, in UTF-16 units, and most pieces that a text is split into. */
export const MAX_MADE_TEXT = 65_536;
export const MAX_PIECES = 4096;

const { STRING, INT, DYN } = CelScalar;
const LIST = listType(DYN);
/** Each call in a chain multiplies what the one before made: twenty would make gigabytes out of one letter. */
const GROWING = new Set(['replace', 'split', 'join']);
/** CEL's strings extension, with limits on what its growing functions make: beyond them an expression has no answer. */
export const boundedStrings = [
  ...strings.filter(({ name }) => !GROWING.has(name)),
  celMethod('replace', STRING, [STRING, STRING], STRING, function (from, to) {
    return replaced(this, from, to, this.length);
  }),
  celMethod('replace', STRING, [STRING, STRING, INT], STRING, function (from, to, count) {
    return replaced(this, from, to, Number(count));
  }),
  celMethod('split', STRING, [STRING], LIST, function (separator) {
    return pieces(this.split(separator, MAX_PIECES + 1));
  }),
  celMethod('split', STRING, [STRING, INT], LIST, function (separator, count) {
    if (count === 1n) return celList([this]);
    return pieces(
      this.split(separator, count < 0n ? MAX_PIECES + 1 : Math.min(Number(count), MAX_PIECES + 1)),
    );
  }),
  celMethod('join', LIST, [], STRING, function () {
    return joined(this, '');
  }),
  celMethod('join', LIST, [STRING], STRING, function (separator) {
    return joined(this, separator);
  }),
];

function replaced(text: string, from: string, to: string, count: number): string {
  let made = '';
  let at = 0;
  for (let left = count; left > 0 && at <= text.length; left--) {
    const found = text.indexOf(from, at);
    if (found < 0) break;
    // The empty text stands before every character, which is then passed over.
    const end = found + Math.max(from.length, 1);
    made = bounded(made + text.slice(at, found) + to + (from === '' ? text.slice(found, end) : ''));
    at = end;
  }
  return bounded(made + text.slice(at));
}

function joined(list: CelList, separator: string): string {
  let made = '';
  let isFirst = true;
  for (const item of list) {
    if (typeof item !== 'string')
      throw new Error('invalid argument to function join: list contains non-string value');
    made = bounded(isFirst ? item : made + separator + item);
    isFirst = false;
  }
  return made;
}

function pieces(list: readonly string[]): CelList {
  if (list.length > MAX_PIECES) throw new Error(`a text is split into more than ${MAX_PIECES} pieces`);
  return celList(list);
}

function bounded(text: string): string {
  if (text.length > MAX_MADE_TEXT) throw new Error(`a text is longer than ${MAX_MADE_TEXT} characters`);
  return text;
}

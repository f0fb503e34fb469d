import { DerReader, decodeOid, element, OID, oid, sequence, set, TAG, utf8String } from '../der/index.ts';

/** Attributes of one Name that are read. */
const MAX_ATTRIBUTES = 64;
/** RFC 5280 appendix A.1: ub-common-name. */
export const MAX_COMMON_NAME = 64;

/** Short names of RFC 4519 for what names hold. */
const SHORT: ReadonlyMap<string, string> = new Map([
  [OID.commonName, 'CN'],
  [OID.serialNumber, 'serialNumber'],
  [OID.country, 'C'],
  [OID.locality, 'L'],
  [OID.state, 'ST'],
  [OID.organization, 'O'],
  [OID.organizationalUnit, 'OU'],
  [OID.domainComponent, 'DC'],
  [OID.uniqueIdentifier, 'x500UniqueIdentifier'],
]);

/** Attributes of a Name to be written, in order. */
export type NameAttributes = readonly (readonly [type: keyof typeof OID, value: string])[];

/** A Name (RFC 5280 section 4.1.2.4) of one attribute after another. */
export function encodeName(attributes: NameAttributes): Buffer {
  return sequence(
    ...attributes.map(([type, value]) =>
      set(
        sequence(
          oid(OID[type]),
          // RFC 5280 appendix A.1: serialNumber is a PrintableString and nothing else.
          type === 'serialNumber'
            ? element(TAG.printableString, Buffer.from(value, 'latin1'))
            : utf8String(value),
        ),
      ),
    ),
  );
}

/** Checks the structure of a Name that comes next, and leaves its values alone; gives where it stands. */
export function expectName(reader: DerReader): void {
  reader.expect(TAG.sequence);
  // Most names are short, and compared as a whole; the structure is walked so that nothing hides in them.
  const { from, start, stop } = reader;
  const names = reader.inside();
  let attributes = 0;
  while (!names.done) {
    const set = names.enter(TAG.set);
    if (set.done) throw reader.fault('a name has an empty part');
    while (!set.done) {
      if (++attributes > MAX_ATTRIBUTES) throw reader.fault(`a name has more than ${MAX_ATTRIBUTES} parts`);
      const attribute = set.enter(TAG.sequence);
      attribute.expect(TAG.oid);
      attribute.next();
      attribute.finish();
    }
  }
  reader.from = from;
  reader.start = start;
  reader.stop = stop;
}

/** A Name for people, in the manner of RFC 4514 and in the order it is written; "" for an empty one. */
export function nameText(name: Buffer): string {
  const parts: string[] = [];
  const names = new DerReader(name, 'a name').enter(TAG.sequence);
  while (!names.done) {
    const set = names.enter(TAG.set);
    const values: string[] = [];
    while (!set.done) {
      const attribute = set.enter(TAG.sequence);
      const type = decodeOid(attribute.expect(TAG.oid).content());
      attribute.next();
      values.push(`${SHORT.get(type) ?? type}=${escaped(valueText(attribute.tag, attribute.content()))}`);
    }
    parts.push(values.join('+'));
  }
  return parts.join(',');
}

function valueText(tag: number, content: Buffer): string {
  switch (tag) {
    case TAG.utf8String:
      return content.toString('utf8');
    case TAG.printableString:
    case TAG.ia5String:
    case TAG.teletexString:
      return content.toString('latin1');
    case TAG.bmpString:
      return content.length % 2 === 0 ? Buffer.from(content).swap16().toString('utf16le') : hexText(content);
    default:
      return hexText(content);
  }
}

function hexText(content: Buffer): string {
  return `#${content.toString('hex')}`;
}

/** What a terminal or a log could take for something else is written as its code: a name is an outsider's text. */
function escaped(value: string): string {
  return value
    .replaceAll(/[\\,+"<>;=]/g, (character) => `\\${character}`)
    .replaceAll(
      /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu,
      (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
    );
}

import { InterlockError } from '../../access/index.ts';
import { FORMATS, type Source, type SourceOptions } from '../source.ts';

/**
 * The source that is surest of the head of a recording (decompressed). Throws `invalid_recording` for an empty
 * recording, and for one that no source knows, with what it looks like.
 */
export function detectSource(
  head: Buffer,
  name: string,
  sources: readonly Source[],
  fields?: SourceOptions['fields'],
): Source {
  refuseEmpty(head, name);
  const foreign = MAGIC.find(([magic]) =>
    head.subarray(0, magic.length).equals(Buffer.from(magic, 'latin1')),
  );
  if (foreign !== undefined) throw unknownFormat(name, foreign[1]);
  const text = head.toString('utf8').replace(/^\ufeff/, '');
  let surest: Source | undefined;
  let certainty = 0;
  for (const source of sources) {
    const sure = source.detect(text, fields);
    if (sure > certainty) [surest, certainty] = [source, sure];
  }
  if (surest === undefined) throw unknownFormat(name, kindOfText(head, text));
  return surest;
}

/** Throws `invalid_recording` where there is nothing to read. */
export function refuseEmpty(head: Buffer, name: string): void {
  if (head.length > 0) return;
  throw new InterlockError('invalid_recording', name, `${name} is empty: nothing was recorded in it`, {
    place: { file: name },
  });
}

/** First bytes (as Latin-1) of files that people hand over by mistake, and what to say of them. */
const MAGIC: readonly (readonly [string, string])[] = [
  ['\x89PNG', 'a PNG image'],
  ['\xff\xd8\xff', 'a JPEG image'],
  ['GIF8', 'a GIF image'],
  ['%PDF', 'a PDF document'],
  ['\x7fELF', 'a program (ELF)'],
  ['PK\x03\x04', 'a zip archive: unpack it first'],
  ['\x1f\x8b', 'gzip inside of gzip: unpack it once'],
  ['\x28\xb5\x2f\xfd', 'zstd inside of another compression: unpack it once'],
  ['BZh', 'bzip2 data: unpack it first (bunzip2), or pipe it in (bzcat FILE | interlock observe -)'],
  ['\xfd7zXZ\x00', 'xz data: unpack it first (unxz), or pipe it in (xzcat FILE | interlock observe -)'],
  ['\x04\x22\x4d\x18', 'lz4 data: unpack it first'],
  ['SQLite format 3\x00', 'an SQLite database'],
  ['PAR1', 'a Parquet file'],
  ['\xd4\xc3\xb2\xa1', 'a packet capture (pcap)'],
  ['\xa1\xb2\xc3\xd4', 'a packet capture (pcap)'],
  ['\x0a\x0d\x0d\x0a', 'a packet capture (pcapng)'],
  ['\xff\xfe', 'UTF-16 text: save it as UTF-8'],
  ['\xfe\xff', 'UTF-16 text: save it as UTF-8'],
];

/** Offset of "ustar" in the header of a tar archive (POSIX.1-2017, pax, "ustar Interchange Format"). */
const USTAR_OFFSET = 257;

function kindOfText(head: Buffer, text: string): string {
  if (head.subarray(USTAR_OFFSET, USTAR_OFFSET + 5).equals(Buffer.from('ustar')))
    return 'a tar archive: unpack it first';
  if (!looksLikeText(text)) return 'binary data';
  const start = text.trimStart().slice(0, 200);
  if (start === '') return 'empty lines';
  if (/^<(!doctype|html|\?xml|svg)/i.test(start)) return 'HTML or XML';
  if (start.startsWith('{')) return `JSON with the keys ${keysOf(text)}`;
  if (start.startsWith('['))
    return 'a JSON array, or text in brackets: write one object a line (jq -c ".[]")';
  return `text that begins with "${firstLine(start)}"`;
}

/** Less than one in ten characters is a control character or was no UTF-8. */
function looksLikeText(text: string): boolean {
  const sample = text.slice(0, 4096);
  let strange = 0;
  for (let i = 0; i < sample.length; i++) {
    const c = sample.charCodeAt(i);
    if (c === 0xfffd || (c < 0x20 && c !== 0x09 && c !== 0x0a && c !== 0x0d)) strange++;
  }
  return strange * 10 <= sample.length;
}

/** The first keys that stand in the text, for a person to recognise it by. */
function keysOf(text: string): string {
  const keys = new Set<string>();
  for (const [, key = ''] of text.slice(0, 4096).matchAll(/"([\w.@/-]{1,40})"\s*:/g)) {
    if (keys.size < 5) keys.add(key);
  }
  return keys.size === 0 ? 'of none that are known' : [...keys].map((key) => `"${key}"`).join(', ');
}

function firstLine(text: string): string {
  // Control characters would act on the terminal that the message is shown on.
  return (text.split(/\r?\n/, 1)[0] ?? '').replaceAll(/\p{C}/gu, '?').slice(0, 60);
}

function unknownFormat(name: string, looksLike: string): InterlockError {
  return new InterlockError(
    'invalid_recording',
    name,
    `${name} is in no format that is known here; it looks like ${looksLike}. Formats: ${FORMATS.join(', ')}; where it is one of these, say so with --format`,
    { place: { file: name } },
  );
}

import { InterlockError } from '../../access/index.ts';
import { type Certificate, parseCertificate } from './certificate.ts';

/** The largest text read: a bundle of a hundred roots has 200 KiB. */
const MAX_PEM_CHARACTERS = 4 * 1024 * 1024;
/** Certificates in one text. */
const MAX_BLOCKS = 1024;

const BEGIN = '-----BEGIN ';
const LABEL = /^([A-Z0-9 ]{1,40})-----\r?\n/;

/** A certificate as PEM (RFC 7468), with a line end behind it. */
export function certificateToPem(der: Uint8Array): string {
  return pem('CERTIFICATE', der);
}

/** Bytes as PEM under a label, in lines of 64 characters. */
export function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `${BEGIN}${label}-----\n${lines.map((line) => `${line}\n`).join('')}-----END ${label}-----\n`;
}

/**
 * The certificates in a PEM text, in order. Text around the blocks and blocks of other kinds are not read. Throws
 * `invalid_certificate` for a block that is damaged, and `not_found` where there is none.
 */
export function certificatesFromPem(text: string): Certificate[] {
  if (text.length > MAX_PEM_CHARACTERS) {
    throw new InterlockError('limit', 'PEM', `a PEM text has more than ${MAX_PEM_CHARACTERS} characters`);
  }
  const certificates: Certificate[] = [];
  for (let at = text.indexOf(BEGIN); at >= 0; ) {
    const from = at + BEGIN.length;
    const label = LABEL.exec(text.slice(from, from + 50));
    if (label === null) throw damaged('a line "-----BEGIN ...-----" is not whole');
    const start = from + label[0].length;
    const end = `-----END ${label[1]}-----`;
    const stop = text.indexOf(end, start);
    if (stop < 0) throw damaged(`"${end}" is missing`);
    if (label[1] === 'CERTIFICATE') certificates.push(parseCertificate(base64(text.slice(start, stop))));
    if (certificates.length > MAX_BLOCKS)
      throw new InterlockError('limit', 'PEM', `a PEM text holds more than ${MAX_BLOCKS} certificates`);
    at = text.indexOf(BEGIN, stop + end.length);
  }
  if (certificates.length > 0) return certificates;
  throw new InterlockError('not_found', 'PEM', 'the text holds no "-----BEGIN CERTIFICATE-----"');
}

function base64(lines: string): Buffer {
  const text = lines.replaceAll(/[ \t\r\n]/g, '');
  const bytes = Buffer.from(text, 'base64');
  if (text === '' || bytes.toString('base64') !== text) throw damaged('its base64 is not what RFC 7468 says');
  return bytes;
}

function damaged(reason: string): InterlockError {
  return new InterlockError('invalid_certificate', 'PEM', `the PEM text is damaged: ${reason}`);
}

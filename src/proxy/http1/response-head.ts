import { CLASSES, CR, LF, SP, VALUE } from './bytes.ts';
import { Fields } from './fields.ts';
import { versionAt } from './request-head.ts';

/** The head of one response; kept for each upstream connection and read into again. */
export class ResponseHead {
  readonly fields = new Fields();
  status = 0;
  minor = 1;
  /** Where the fields begin: after the status line. */
  fieldsStart = 0;
  end = 0;

  /** Reads the head between two offsets of `bytes`. Gives what is wrong with it, or undefined. */
  read(bytes: Buffer, start: number, end: number): string | undefined {
    this.fields.reset();
    this.end = end;
    const minor = versionAt(bytes, start);
    if (minor < 0 || bytes[start + 8] !== SP) return 'no status line';
    this.minor = minor;
    this.status = 0;
    let at = start + 9;
    for (const stop = at + 3; at < stop; at++) {
      const digit = (bytes[at] as number) - 0x30;
      if (digit < 0 || digit > 9) return 'no status';
      this.status = this.status * 10 + digit;
    }
    if (this.status < 100) return 'a status below 100';
    // The space before an empty reason is left out by some.
    if (bytes[at] !== SP && bytes[at] !== CR) return 'no status';
    while (((CLASSES[bytes[at] as number] as number) & VALUE) !== 0) at++;
    if (bytes[at] !== CR || bytes[at + 1] !== LF) return 'a status line that does not end';
    this.fieldsStart = at + 2;
    return this.fields.read(bytes, this.fieldsStart, end);
  }
}

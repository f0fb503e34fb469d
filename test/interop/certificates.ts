import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A certificate with its key, as PEM, and where they lie. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** A certificate authority of its own in `dir`, for one run on the loopback interface. */
export class TestAuthority {
  readonly #dir: string;
  readonly #made = new Map<string, Certificate>();

  constructor(dir: string) {
    this.#dir = dir;
    const subject = ['-subj', '/CN=interop root', '-days', '2', '-nodes'];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
    openssl(['req', '-x509', ...curve, ...subject, '-keyout', this.#path('root.key'), '-out', this.file]);
  }

  /** The root certificate's file. */
  get file(): string {
    return this.#path('root.pem');
  }

  /** A leaf with this one URI as its only subject alternative name. */
  leaf(uri: string): Certificate {
    const known = this.#made.get(uri);
    if (known !== undefined) return known;
    const name = `leaf-${this.#made.size}`;
    const [keyFile, request, certFile, extensions] = ['key', 'csr', 'pem', 'ext'].map((end) =>
      this.#path(`${name}.${end}`),
    );
    writeFileSync(
      extensions as string,
      `subjectAltName=URI:${uri}\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n`,
    );
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
    openssl([
      'req',
      '-new',
      ...curve,
      '-nodes',
      '-subj',
      '/CN=leaf',
      '-keyout',
      keyFile as string,
      '-out',
      request as string,
    ]);
    const sign = ['-CA', this.file, '-CAkey', this.#path('root.key'), '-CAcreateserial', '-days', '1'];
    openssl([
      'x509',
      '-req',
      '-in',
      request as string,
      ...sign,
      '-extfile',
      extensions as string,
      '-out',
      certFile as string,
    ]);
    const made = {
      cert: readFileSync(certFile as string, 'utf8'),
      key: readFileSync(keyFile as string, 'utf8'),
      certFile: certFile as string,
      keyFile: keyFile as string,
    };
    this.#made.set(uri, made);
    return made;
  }

  #path(name: string): string {
    return join(this.#dir, name);
  }
}

function openssl(args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

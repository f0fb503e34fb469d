import { readFileSync, writeFileSync } from 'node:fs';
import { InterlockError } from '../../../access/index.ts';
import { type CommandSpec, InvalidArgumentError, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER, durationOption, listOption } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';
import { ioError } from '../../files.ts';
import { durationText, shortId, timeAndDistance } from '../../control/words.ts';
import { stateWords } from './show.ts';

/** Largest file that is read here, in bytes. */
const MAX_FILE = 1024 * 1024;

/** `interlock authority csr`: a request for the next intermediate under an offline root. */
export const authorityCsrCommand: CommandSpec<ApiOptions & { readonly out?: string }> = {
  name: 'authority csr',
  summary: 'Make a key for the next authority and write the request that the offline root signs.',
  options: [SERVER, new Option('--out <file>', 'write it here (default: standard output)')],
  example: 'interlock authority csr --out next.csr',
  json: '{keyId, pem}',
  async run({ terminal }, _args, { state, server, json, out }) {
    const made = await new Api({ state, server }).call('authorities.request');
    if (out !== undefined) write(out, made.pem);
    if (json) terminal.json(made);
    else if (out === undefined) terminal.out.write(made.pem);
    else
      terminal.prose(
        `Wrote ${out}. Sign it where the root is: interlock authority sign ${out} --offline-root DIR`,
      );
    return EXIT.done.code;
  },
};

interface SignOptions extends ApiOptions {
  readonly offlineRoot: string;
  readonly ttl: number;
  readonly prefix?: readonly string[];
  readonly pathLength?: number;
  readonly out?: string;
}

/** `interlock authority sign`: where the offline root is. */
export const authoritySignCommand: CommandSpec<SignOptions> = {
  name: 'authority sign',
  args: '<request>',
  summary: 'Sign the request of an authority with an offline root. Needs no control plane and no network.',
  options: [
    new Option(
      '--offline-root <dir>',
      'where "authority init --offline-root" made the root',
    ).makeOptionMandatory(),
    new Option('--ttl <duration>', 'life of the new authority')
      .argParser(durationOption)
      .default(365 * 86_400_000, '365d'),
    new Option(
      '--prefix <path>',
      'limit it to IDs below this path, as in /area/payments/; may be repeated',
    ).argParser(listOption),
    new Option('--path-length <n>', 'how many authorities may stand below it').argParser(countOption),
    new Option('--out <file>', 'write the chain here (default: standard output)'),
  ],
  example: 'interlock authority sign next.csr --offline-root /media/root --out next.pem',
  json: '{pem, notAfter}',
  async run({ terminal, now }, [file = ''], options) {
    const { certificateToPem } = await import('../../../identity/index.ts');
    const { signOffline } = await import('../../../server/index.ts');
    const chain = await signOffline(options.offlineRoot, {
      csr: requestOf(file),
      ttl: options.ttl,
      now: now(),
      prefixes: options.prefix,
      pathLength: options.pathLength,
    });
    const pem = chain.map(({ der }) => certificateToPem(der)).join('');
    const notAfter = chain[0]?.notAfter ?? 0;
    if (options.out !== undefined) write(options.out, pem);
    if (options.json) terminal.json({ pem, notAfter });
    else if (options.out === undefined) terminal.out.write(pem);
    else
      terminal.prose(
        `Wrote ${options.out}, good for ${durationText(notAfter - now())}. Take it back with: interlock authority import ${options.out}`,
      );
    return EXIT.done.code;
  },
};

/** `interlock authority import`: takes a signed authority in. */
export const authorityImportCommand: CommandSpec<ApiOptions & { readonly name: string }> = {
  name: 'authority import',
  args: '<chain>',
  summary:
    'Take in the chain that the offline root signed: the new authority is published, and signs when it is activated.',
  options: [SERVER, new Option('--name <name>', 'which of the named authorities').default('default')],
  example: 'interlock authority import next.pem',
  json: 'the authority: {id, name, state, algorithm, notBefore, notAfter, ...}',
  async run({ terminal, now }, [file = ''], { state, server, json, name }) {
    const body = { pem: read(file), name };
    const shown = await new Api({ state, server }).call('authorities.import', { body });
    if (json) terminal.json(shown);
    else {
      terminal.prose(
        `Authority ${shortId(shown.id)}: ${stateWords(shown)}; ends ${timeAndDistance(shown.notAfter, now())}.`,
      );
      if (shown.state === 'prepared')
        terminal.prose(
          `Let it sign once every agent has confirmed it: interlock authority rotate --name ${name}`,
        );
    }
    return EXIT.done.code;
  },
};

function countOption(text: string): number {
  if (/^\d{1,2}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('a path length is a whole number');
}

function read(file: string): string {
  try {
    const bytes = readFileSync(file);
    if (bytes.length > MAX_FILE) throw new InterlockError('limit', file, `${file} is larger than 1 MiB`);
    return bytes.toString('utf8');
  } catch (cause) {
    throw cause instanceof InterlockError ? cause : ioError(file, cause);
  }
}

function requestOf(file: string): Buffer {
  const base64 = /-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]+)-----END/.exec(
    read(file),
  )?.[1];
  if (base64 !== undefined) return Buffer.from(base64, 'base64');
  throw new InterlockError(
    'invalid_certificate',
    file,
    `${file} holds no "-----BEGIN CERTIFICATE REQUEST-----"`,
  );
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text, { mode: 0o644 });
  } catch (cause) {
    throw ioError(file, cause);
  }
}

import { readFileSync } from 'node:fs';
import { InterlockError } from '../../access/index.ts';
import type * as workload from '../../workload/index.ts';
import type { Helper, HelperConfig, Written } from '../../workload/index.ts';
import { type CommandSpec, type CommonOptions, InvalidArgumentError, Option } from '../command.ts';
import { EXIT } from '../exit.ts';
import type { Terminal } from '../terminal.ts';

/** How long `--once` waits for the agent where nothing is said, in seconds. */
const ONCE_TIMEOUT_S = 30;

interface Options extends CommonOptions {
  readonly config?: string;
  readonly endpoint?: string;
  readonly dir?: string;
  readonly owner?: string;
  readonly keyMode?: string;
  readonly hint?: string;
  readonly combined?: string;
  readonly crl?: string;
  readonly pkcs12?: string;
  readonly passwordFile?: string;
  readonly jwt?: readonly { audience: string[]; file: string }[];
  readonly jwtBundle?: string;
  readonly federated?: true;
  readonly shell?: true;
  readonly commandTimeout?: number;
  readonly signal?: string;
  readonly pid?: number;
  readonly pidFile?: string;
  readonly healthFile?: string;
  readonly healthPort?: number;
  readonly once?: true;
  readonly init?: true;
  readonly timeout?: number;
}

/** `interlock helper`: certificate files for a program that cannot speak to the Workload API. */
export const helperCommand: CommandSpec<Options> = {
  name: 'helper',
  args: '[command...]',
  summary:
    "Write this workload's certificate, key and bundle to files and keep them up to date; after each renewal run a command (no shell) or send a signal.",
  options: [
    new Option(
      '--dir <dir>',
      'where the files go: svid.pem, svid_key.pem, bundle.pem. They change together, as one set',
    ),
    new Option('--config <file>', "options from a YAML or JSON file; spiffe-helper's names are understood"),
    new Option('--endpoint <uri>', 'the Workload API; else SPIFFE_ENDPOINT_SOCKET'),
    new Option('--owner <user[:group]>', 'whose the files become'),
    new Option('--key-mode <mode>', 'permissions of key files, 0600 where not said'),
    new Option('--hint <hint>', 'which of several identities'),
    new Option('--combined <file>', 'key and certificates in one file as well'),
    new Option('--crl <file>', 'the revocation lists as well, PEM; no file while there are none'),
    new Option('--pkcs12 <file>', 'as PKCS#12 as well; needs --password-file'),
    new Option('--password-file <path>', 'holds the password of the PKCS#12 file'),
    new Option(
      '--jwt <audience=file>',
      'a JWT-SVID for an audience, renewed at half its life; may be repeated',
    ).argParser(jwtOption),
    new Option('--jwt-bundle <file>', 'the keys that judge JWT-SVIDs, as JWKS'),
    new Option('--federated', 'the bundles of federated domains, each in a file of its own'),
    new Option('--shell', 'hand the command to a shell'),
    new Option('--command-timeout <seconds>', 'when a command is ended, 30 where not said').argParser(
      numberOption,
    ),
    new Option(
      '--signal <signal>',
      'sent on renewal: to --pid, --pid-file, or the command, which is then kept running',
    ),
    new Option('--pid <pid>', 'the process to signal').argParser(numberOption),
    new Option('--pid-file <path>', 'holds the process to signal'),
    new Option('--health-file <path>', 'the state of health as JSON, after each attempt'),
    new Option('--health-port <port>', 'answers /live and /ready on 127.0.0.1').argParser(numberOption),
    new Option(
      '--once',
      "write, run the command or send the signal, and end, with the command's exit code",
    ).conflicts('init'),
    new Option('--init', 'wait for the agent as long as it takes, write, and end'),
    new Option(
      '--timeout <seconds>',
      `how long --once waits for the agent, ${ONCE_TIMEOUT_S} where not said`,
    ).argParser(numberOption),
  ],
  example: 'interlock helper --dir /run/shop-web -- nginx -s reload',
  json: '{spiffeId, files, expiresAt} with --once and --init; else a line for each event: {event: note|error,\ntext, code?}',
  async run({ terminal }, command, options) {
    // gRPC and TLS are loaded only for the commands that use them: the others start faster.
    const { Helper, ...room } = await import('../../workload/index.ts');
    const config = configOf(room, command, options);
    const helper = new Helper(config, {
      onNote: (text) => say(terminal, options, text),
      onError: (error) => complain(terminal, options, error),
    });
    try {
      if (options.init) print(terminal, options, config, await helper.writeOnce());
      else if (config.once) {
        const { written, code } = await once(helper, options);
        print(terminal, options, config, written);
        return code;
      } else await daemon(helper);
    } finally {
      await helper.close();
    }
    return EXIT.done.code;
  },
};

function configOf(
  { helperConfig, readHelperFile }: Pick<typeof workload, 'helperConfig' | 'readHelperFile'>,
  command: readonly string[],
  options: Options,
): HelperConfig {
  const { config: file, pkcs12, passwordFile, ...given } = options;
  if ((pkcs12 === undefined) !== (passwordFile === undefined)) {
    throw new InterlockError(
      'usage',
      'pkcs12',
      '--pkcs12 and --password-file are given together or not at all',
    );
  }
  const { endpoint, dir, owner, keyMode, hint, combined, crl, jwt, jwtBundle, federated, shell } = given;
  const { commandTimeout, signal, pid, pidFile, healthFile, healthPort, once } = given;
  const flags = {
    endpoint,
    dir,
    owner,
    keyMode,
    hint,
    combined,
    crl,
    jwt,
    jwtBundle,
    federated,
    shell,
    commandTimeout,
    signal,
    pid,
    pidFile,
    healthFile,
    healthPort,
    once,
    command: command.length === 0 ? undefined : command,
    pkcs12: pkcs12 === undefined ? undefined : { file: pkcs12, passwordFile },
  };
  return file === undefined ? helperConfig(flags) : helperConfig(readHelperFile(readFile(file), file), flags);
}

function readFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new InterlockError('not_found', file, `the configuration "${file}" cannot be read: ${why}`, {
      cause,
    });
  }
}

async function once(helper: Helper, { timeout = ONCE_TIMEOUT_S }: Options): ReturnType<Helper['runOnce']> {
  const signal = AbortSignal.timeout(timeout * 1000);
  try {
    return await helper.runOnce(signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new InterlockError(
      'unavailable',
      'agent',
      `no identity within ${timeout} s; the reasons stand above`,
      {
        cause: error,
      },
    );
  }
}

/** Runs until the process is asked to end. */
async function daemon(helper: Helper): Promise<void> {
  const stopped = new AbortController();
  const stop = () => stopped.abort();
  process.once('SIGTERM', stop).once('SIGINT', stop);
  // Signals alone keep no process alive, nor does the wait between two attempts to reach the agent.
  const alive = setInterval(() => {}, 3_600_000);
  try {
    await Promise.race([helper.run(stopped.signal), aborted(stopped.signal)]);
    await aborted(stopped.signal);
  } catch (error) {
    if (!stopped.signal.aborted) throw error;
  } finally {
    clearInterval(alive);
    process.off('SIGTERM', stop).off('SIGINT', stop);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

function print(terminal: Terminal, { json }: Options, { dir }: HelperConfig, written: Written): void {
  const { spiffeId, names, expiresAt } = written;
  const until = new Date(expiresAt).toISOString();
  if (json) terminal.json({ spiffeId, files: names.map((name) => `${dir}/${name}`), expiresAt: until });
}

function say(terminal: Terminal, { json, once, init }: Options, text: string): void {
  if (!json) terminal.prose(text);
  else if (!once && !init) terminal.json({ event: 'note', text });
}

function complain(
  terminal: Terminal,
  { json, once, init }: Options,
  { code, message }: InterlockError,
): void {
  if (json && !once && !init) terminal.json({ event: 'error', code, text: message });
  else terminal.complain(message);
}

function jwtOption(
  text: string,
  before: readonly { audience: string[]; file: string }[] = [],
): { audience: string[]; file: string }[] {
  const at = text.lastIndexOf('=');
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError('a token is written AUDIENCE=FILE');
  return [...before, { audience: [text.slice(0, at)], file: text.slice(at + 1) }];
}

function numberOption(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('this is no number');
  return value;
}

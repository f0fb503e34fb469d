import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { InterlockError } from '../../access/index.ts';
import type { Certificate } from '../../identity/index.ts';
import { interlockErrorOf } from '../api-error.ts';
import { Backoff } from '../backoff.ts';
import { WorkloadApiClient } from '../client.ts';
import { type Clock, systemClock } from '../clock.ts';
import { JwtSource, renewAt } from '../jwt-source.ts';
import type { JwtSvid } from '../jwt-svid.ts';
import { X509Source } from '../x509-source.ts';
import type { X509Svid } from '../x509-state.ts';
import type { HelperConfig } from './config.ts';
import { filesOf, pkcs12File } from './files.ts';
import { FileSet, type SetFile } from './file-set.ts';
import { type Health, healthOf, HealthServer, writeHealth } from './health.ts';
import { type Hooks, hooksOf } from './hooks.ts';
import { ownerOf } from './owner.ts';

/** Longest password file that is read. */
const MAX_PASSWORD = 1024;

/** What a helper tells of. */
export interface HelperEvents {
  /** Something was done: files written, a command run. */
  readonly onNote: (text: string) => void;
  /** Something went wrong; the helper goes on with what it has. */
  readonly onError: (error: InterlockError) => void;
}

/** Files written. */
export interface Written {
  readonly spiffeId: string;
  readonly names: readonly string[];
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/**
 * Keeps the files of a workload's identities up to date for a program that cannot speak to the Workload API. One state
 * is written at a time; of several that come meanwhile the newest.
 */
export class Helper {
  readonly #config: HelperConfig;
  readonly #clock: Clock;
  readonly #events: HelperEvents;
  readonly #set: FileSet;
  readonly #hooks: Hooks;
  readonly #backoff: Backoff;
  readonly #client: WorkloadApiClient;
  readonly #abort = new AbortController();
  #x509: X509Source | undefined;
  #jwt: JwtSource | undefined;
  #healthServer: HealthServer | undefined;
  #written: { content: string; files: Written; at: number } | undefined;
  #writes = 0;
  #error: InterlockError | undefined;
  /** Why there is no first state. */
  #refusal: InterlockError | undefined;
  #busy: Promise<void> | undefined;
  #again = false;
  #tokens: readonly JwtSvid[] = [];
  /** The certificate that was held when the tokens were taken. */
  #leaf: Certificate | undefined;
  #callOff = () => {};
  #telling: Promise<void> = Promise.resolve();
  #callOffTelling = () => {};

  /** Throws `usage` or `not_found` for options that cannot work. */
  constructor(config: HelperConfig, events: HelperEvents, clock: Clock = systemClock) {
    this.#config = config;
    this.#events = events;
    this.#clock = clock;
    this.#set = new FileSet(config.dir, config.owner === undefined ? undefined : ownerOf(config.owner));
    this.#hooks = hooksOf(config, clock, events);
    this.#backoff = new Backoff(() => clock.random());
    this.#client = new WorkloadApiClient({ endpoint: config.endpoint, clock });
  }

  /** Writes the first set and returns it, without hooks. Waits for the agent until `signal` aborts. */
  async writeOnce(signal?: AbortSignal): Promise<Written> {
    await this.#open(signal);
    return await this.#write((await this.#takeTokens()).tokens);
  }

  /**
   * Writes one set and runs the hooks to their end; a program that would be kept running is not started. `code`: how
   * the hooks ended, as an exit code.
   */
  async runOnce(signal?: AbortSignal): Promise<{ written: Written; code: number }> {
    const written = await this.writeOnce(signal);
    const { command, signal: sent } = this.#config;
    const code = command === undefined || sent === undefined ? await this.#hooks.renewed() : 0;
    return { written, code };
  }

  /** Writes each new state until {@link close}. Rejects where the first one cannot be had; `io` is tried again. */
  async run(signal?: AbortSignal): Promise<void> {
    const { healthPort, healthHost } = this.#config;
    if (healthPort !== undefined) {
      this.#healthServer = new HealthServer({ ...this.#config, health: () => this.health });
      const port = await this.#healthServer.listen(healthHost, healthPort);
      this.#events.onNote(`answers health on ${healthHost}:${port}`);
    }
    await this.#tellHealth();
    await this.#open(signal);
    this.#x509?.onUpdate(() => void this.#renew());
    this.#jwt?.onUpdate(() => void this.#renew());
    await this.#renew();
  }

  get health(): Health {
    const written = this.#written;
    return healthOf({
      now: this.#clock.now(),
      written: written && { ...written.files, at: written.at },
      writes: this.#writes,
      failure: this.#error,
      stream: this.#x509 === undefined ? this.#refusal : this.#x509.lastError,
    });
  }

  /** Stops watching, ends what hooks run, and waits for a write that is on its way. */
  async close(): Promise<void> {
    this.#abort.abort();
    this.#callOff();
    this.#callOffTelling();
    this.#x509?.close();
    this.#jwt?.close();
    this.#client.close();
    await this.#hooks.close();
    await this.#busy;
    await this.#telling;
    await this.#healthServer?.close();
  }

  async #open(signal: AbortSignal | undefined): Promise<void> {
    const { hint, jwt, jwtBundle } = this.#config;
    const stop = signal === undefined ? this.#abort.signal : AbortSignal.any([signal, this.#abort.signal]);
    const onError = (error: InterlockError) => this.#events.onError(error);
    const shared = { client: this.#client, clock: this.#clock, signal: stop, onError };
    this.#x509 = await X509Source.open({
      ...shared,
      onError: (error) => {
        this.#refusal = error;
        onError(error);
        void this.#tellHealth();
      },
      ...(hint === undefined
        ? {}
        : { pick: (svids: readonly X509Svid[]) => svids.find((svid) => svid.hint === hint) }),
    });
    if (jwt.length > 0 || jwtBundle !== undefined) this.#jwt = await JwtSource.open(shared);
  }

  /** Writes until the newest state is written; one loop at a time. */
  #renew(): Promise<void> {
    if (this.#busy !== undefined) {
      this.#again = true;
      return this.#busy;
    }
    this.#busy = this.#renewals().finally(() => {
      this.#busy = undefined;
    });
    return this.#busy;
  }

  async #renewals(): Promise<void> {
    do {
      this.#again = false;
      await this.#attempt();
    } while (this.#again && !this.#abort.signal.aborted);
  }

  async #attempt(): Promise<void> {
    this.#callOff();
    const writes = this.#writes;
    let wait: number;
    try {
      const { tokens, fault } = await this.#takeTokens();
      await this.#write(tokens);
      if (fault !== undefined) throw fault;
      this.#error = undefined;
      this.#backoff.reset();
      wait = Math.min(...tokens.map(renewAt), Number.POSITIVE_INFINITY) - this.#clock.now();
    } catch (error) {
      this.#error = interlockErrorOf(this.#config.dir, error);
      this.#events.onError(this.#error);
      wait = this.#backoff.next();
    }
    if (this.#abort.signal.aborted) return;
    if (Number.isFinite(wait))
      this.#callOff = this.#clock.after(Math.max(wait, 1_000), () => void this.#renew());
    await this.#tellHealth();
    // Not awaited: a command that hangs must not keep the next certificate from being written.
    if (this.#writes > writes) void this.#hooks.renewed();
  }

  /**
   * The tokens of the configuration, in its order. One that cannot be had any more stays as it was, so that it does not
   * hold up the certificates; one that never could be is an error.
   */
  async #takeTokens(): Promise<{ tokens: JwtSvid[]; fault: unknown }> {
    const source = this.#jwt;
    const { jwt } = this.#config;
    if (source === undefined || jwt.length === 0) return { tokens: [], fault: undefined };
    // Of several identities the token is of the one whose certificate is written. One that was replaced may be of an
    // authority that is relied on no more, and so may the tokens: the agent is asked whether it has others.
    const svid = this.#x509?.svid;
    const own = svid?.spiffeId;
    const leaf = svid?.chain[0];
    if (this.#leaf !== undefined && leaf?.serial !== this.#leaf.serial) source.renewAll();
    this.#leaf = leaf;
    const asked = jwt.map(({ audience, subject }) => source.fetchJwtSvid(audience, subject ?? own));
    let fault: unknown;
    const tokens = (await Promise.allSettled(asked)).map((answer, i) => {
      if (answer.status === 'fulfilled') return answer.value;
      fault = answer.reason;
      const before = this.#tokens[i];
      if (before === undefined) throw answer.reason;
      return before;
    });
    this.#tokens = tokens;
    return { tokens, fault };
  }

  async #write(tokens: readonly JwtSvid[]): Promise<Written> {
    const x509 = this.#x509?.state;
    if (x509 === undefined) throw new TypeError('the helper has not been opened');
    const { svid } = x509;
    const files = filesOf(this.#config, { x509, tokens, jwtBundles: this.#jwt?.bundles });
    const content = contentOf(files);
    if (this.#written?.content === content) return this.#written.files;
    const { pkcs12 } = this.#config;
    // Not part of the comparison: its salts are new each time.
    if (pkcs12 !== undefined) files.push(pkcs12File(this.#config, svid, readPassword(pkcs12.passwordFile)));
    await this.#set.write(files);
    const { spiffeId, expiresAt } = svid;
    const written = { spiffeId, expiresAt, names: files.map(({ name }) => name) };
    this.#written = { content, files: written, at: this.#clock.now() };
    this.#writes += 1;
    this.#events.onNote(
      `wrote ${written.names.join(', ')} for ${spiffeId}, valid until ${new Date(expiresAt).toISOString()}`,
    );
    return written;
  }

  /** One at a time: each is the newest when its turn comes. */
  #tellHealth(): Promise<void> {
    const { healthFile } = this.#config;
    if (healthFile === undefined || this.#abort.signal.aborted) return Promise.resolve();
    this.#telling = this.#telling.then(() => this.#writeHealth(healthFile));
    this.#tellAtEnd();
    return this.#telling;
  }

  async #writeHealth(file: string): Promise<void> {
    try {
      await writeHealth(file, this.health);
    } catch (error) {
      this.#events.onError(interlockErrorOf(file, error));
    }
  }

  /** Who reads the file cannot know that the certificate has ended meanwhile. */
  #tellAtEnd(): void {
    this.#callOffTelling();
    const left = (this.#written?.files.expiresAt ?? 0) - this.#clock.now();
    if (left > 0) this.#callOffTelling = this.#clock.after(left, () => void this.#tellHealth());
  }
}

/** Tells sets apart without keeping a second copy of their keys. */
function contentOf(files: readonly SetFile[]): string {
  const all = files.map(({ name, mode, data }) => [name, mode, String(data)]);
  return hash('sha256', JSON.stringify(all));
}

function readPassword(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new InterlockError('io', file, `the password file "${file}" cannot be read`, { cause });
  }
  const password = text.replace(/\r?\n$/, '');
  if (password !== '' && password.length <= MAX_PASSWORD) return password;
  throw new InterlockError('usage', file, `the password file "${file}" is empty or too long`);
}

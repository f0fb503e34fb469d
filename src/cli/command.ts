import { InvalidArgumentError, Option } from 'commander';
import {
  parsePrincipal,
  parseSpiffeId,
  parseTrustDomain,
  principalText,
  type SpiffeId,
} from '../access/index.ts';
import type { Terminal } from './terminal.ts';

/** What every command is given: where to print, the time, and standard input. */
export interface Context {
  readonly terminal: Terminal;
  readonly now: () => number;
}

/** A command returns its exit code; what it throws becomes a message and a code of {@link EXIT}. */
export type Run<Options> = (context: Context, args: string[], options: Options) => Promise<number>;

/** One command: its words, an example that works, and what it does. */
export interface CommandSpec<Options = Record<string, unknown>> {
  readonly name: string;
  readonly args?: string;
  readonly summary: string;
  readonly options: readonly Option[];
  readonly example: string;
  /** The shape of what `--json` prints, in one or two lines. */
  readonly json: string;
  readonly run: Run<Options>;
}

/** Options that every command has. */
export interface CommonOptions {
  readonly state: string;
  readonly json?: true;
}

export { InvalidArgumentError, Option };

/** Reads an option's value as a SPIFFE ID. */
export function spiffeIdOption(text: string): SpiffeId {
  try {
    return parseSpiffeId(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

/** Reads an option's value as the name of a trust domain. */
export function trustDomainOption(text: string): string {
  try {
    return parseTrustDomain(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

/** Reads an option's value as a principal: a SPIFFE ID, or `unauthenticated:FROM`. Gives its text form. */
export function principalOption(text: string): string {
  try {
    return principalText(parsePrincipal(text));
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

/** Reads an option's value as a time: ISO 8601, UTC where no offset is given. Milliseconds since 1970 UTC. */
export function timeOption(text: string): number {
  const iso = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?$/.test(text);
  const at = Date.parse(iso && text.includes('T') ? `${text}Z` : text);
  if (Number.isNaN(at))
    throw new InvalidArgumentError('a time is written like 2026-11-21 or 2026-11-21T06:00:00Z');
  return at;
}

/** Reads START/END into a window; the option may be repeated. */
export function incidentOption(
  text: string,
  before: readonly { from: number; to: number }[] = [],
): { from: number; to: number }[] {
  const [start, end, ...rest] = text.split('/');
  if (start === undefined || end === undefined || rest.length > 0) {
    throw new InvalidArgumentError('a window is written START/END');
  }
  const window = { from: timeOption(start), to: timeOption(end) };
  if (window.to < window.from) throw new InvalidArgumentError('the window ends before it starts');
  return [...before, window];
}

/** Reads KEY=OPERATOR; the option may be repeated. */
export function fieldOption(
  text: string,
  before: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError('a field is written KEY=OPERATOR');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

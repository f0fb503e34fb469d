import { durationOf } from '../../access/index.ts';
import { type CommonOptions, InvalidArgumentError, Option } from '../command.ts';

/** Options of every command that calls the API of a control plane. */
export interface ApiOptions extends CommonOptions {
  readonly server?: string;
}

/** Which control plane is called. */
export const SERVER = new Option(
  '--server <url>',
  'the control plane that you signed in to; without it, the one that serves --state on this machine',
);

/** Reads an option's value as a duration: 30s, 10m, 1h30m, 7d. Milliseconds. */
export function durationOption(text: string): number {
  const ms = durationOf(text);
  if (ms === undefined) throw new InvalidArgumentError('a duration is written like 30s, 10m, 1h30m or 7d');
  return ms;
}

/** Reads an option's value as a share: 10% or 0.1. From 0 to 1. */
export function shareOption(text: string): number {
  const percent = /^(\d{1,3}(?:\.\d{1,4})?)%$/.exec(text)?.[1];
  const share =
    percent === undefined
      ? /^[01](?:\.\d{1,6})?$/.test(text)
        ? Number(text)
        : Number.NaN
      : Number(percent) / 100;
  if (!(share >= 0 && share <= 1)) throw new InvalidArgumentError('a share is written like 10% or 0.1');
  return share;
}

/** Where agents and proxies connect: HOST:PORT, several apart by commas or given one by one. */
export function serversOption(text: string, before: readonly string[] = []): string[] {
  const given = text.split(',').map((part) => part.trim());
  for (const each of given)
    if (addressOption(each).port === 0) throw new InvalidArgumentError('an address is written HOST:PORT');
  return [...before, ...given];
}

/** Reads HOST:PORT or [IPv6]:PORT. Port 0 takes a free one. */
export function addressOption(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port <= 65535))
    throw new InvalidArgumentError('an address is written HOST:PORT');
  return { host, port };
}

/** Reads KEY=VALUE; the option may be repeated. */
export function attributeOption(
  text: string,
  before: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('an attribute is written KEY=VALUE');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** Collects the values of an option that may be repeated. */
export function listOption(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}

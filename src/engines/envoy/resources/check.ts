import { isIP } from 'node:net';
import { InterlockError } from '../../../access/index.ts';
import type { Address, EnvoyWorkload } from './types.ts';

const VERSION = /^[\w.-]{1,128}$/;

/** Throws `invalid_document` for what Envoy would refuse, and for what would be dangerous if it did not. */
export function checkWorkload({ workload, version, inbound, outbound }: EnvoyWorkload): void {
  const refuse = (what: string): never => {
    throw new InterlockError('invalid_document', workload, `${workload}: ${what}`);
  };
  if (!VERSION.test(version)) refuse(`"${version}" is no version: letters, digits, ".", "_" and "-" only`);
  for (const { listen, workload: other = workload, sendProxyHeader } of [...inbound, ...outbound]) {
    if (other !== workload) refuse(`port ${listen.port} is of ${other}: an Envoy serves one workload`);
    if (sendProxyHeader !== undefined)
      refuse(`port ${listen.port} is to send a PROXY header: Envoy is not configured to`);
  }
  const listens = [...inbound, ...outbound].map(({ listen }) => listen);
  for (const [index, listen] of listens.entries()) {
    const text = `${listen.host}:${listen.port}`;
    if (isIP(listen.host) === 0) refuse(`"${text}" is to be listened on: write an IP address`);
    if (!isPort(listen.port)) refuse(`"${text}" has no port of 1 to 65535`);
    const twin = listens.slice(0, index).find((other) => overlap(listen, other));
    if (twin !== undefined) refuse(`"${text}" and "${twin.host}:${twin.port}" are one place to listen on`);
  }
  for (const { listen, forward, port, protocol, programSpeaks } of inbound) {
    if (programSpeaks !== undefined && protocol !== 'http')
      refuse(`port ${listen.port} is served as TCP: "programSpeaks" is for ports of "protocol: http"`);
    if (!isPort(port) || !isPort(forward.port)) refuse(`port ${listen.port} leads to no port of 1 to 65535`);
    if (leadsTo(listen, forward))
      refuse(`port ${listen.port} would lead to itself: give the program another`);
  }
  for (const { listen, to } of outbound) {
    if (!isLoopback(listen.host))
      refuse(`${listen.host}:${listen.port} would let others speak as the workload: listen on loopback`);
    if (!isPort(to.port)) refuse(`port ${listen.port} leads to no port of 1 to 65535`);
    if (leadsTo(listen, to)) refuse(`port ${listen.port} would lead to itself`);
  }
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535;
}

function isLoopback(host: string): boolean {
  return host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function isAny(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

function overlap(a: Address, b: Address): boolean {
  if (a.port !== b.port) return false;
  return a.host === b.host || ((isAny(a.host) || isAny(b.host)) && isIP(a.host) === isIP(b.host));
}

function leadsTo(listen: Address, to: Address): boolean {
  if (listen.port !== to.port) return false;
  const isHere = isLoopback(to.host) || isAny(to.host) || to.host === 'localhost';
  return listen.host === to.host || (isAny(listen.host) && isHere);
}

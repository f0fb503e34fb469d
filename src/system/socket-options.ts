import { failed, library } from './library.ts';

const SOL_IP = 0;
const SOL_SOCKET = 1;
const SOL_TCP = 6;
const SOL_IPV6 = 41;
const SO_MARK = 36;
/** <linux/netfilter_ipv4.h>, and IP6T_SO_ORIGINAL_DST of <linux/netfilter_ipv6/ip6_tables.h>: the same number. */
const SO_ORIGINAL_DST = 80;
/** <linux/tcp.h>; the first byte of the answer is the state. */
const TCP_INFO = 11;
const TCP_ESTABLISHED = 1;
const TCP_CLOSE_WAIT = 8;
const AF_INET = 2;
const AF_INET6 = 10;

const ENOENT = 2;
const ENOPROTOOPT = 92;

/** Both ends of an address as the kernel has them: text without a zone, and a port. */
export interface SocketAddressOf {
  readonly host: string;
  readonly port: number;
}

type Calls = ReturnType<typeof load>;
let loaded: Calls | undefined;

function calls(): Calls {
  loaded ??= load();
  return loaded;
}

function load() {
  const { getFunction, errno } = library();
  return {
    getsockopt: getFunction('getsockopt', {
      return: 'i32',
      arguments: ['i32', 'i32', 'i32', 'buffer', 'buffer'],
    }),
    setsockopt: getFunction('setsockopt', {
      return: 'i32',
      arguments: ['i32', 'i32', 'i32', 'buffer', 'u32'],
    }),
    errno,
  };
}

/** The mark of a socket (SO_MARK, socket(7)); 0 for none. Throws `io`. */
export function markOf(fd: number): number {
  const value = Buffer.alloc(4);
  const errno = get(fd, SOL_SOCKET, SO_MARK, value).errno;
  if (errno !== 0) throw failed('SO_MARK', errno);
  return value.readUInt32LE(0);
}

/** Marks a socket. Needs CAP_NET_ADMIN, or CAP_NET_RAW since Linux 5.17. Throws `io`. */
export function setMark(fd: number, mark: number): void {
  const { setsockopt, errno } = calls();
  const value = Buffer.alloc(4);
  value.writeUInt32LE(mark);
  if (setsockopt(fd, SOL_SOCKET, SO_MARK, value, value.length) !== 0) throw failed('SO_MARK', errno());
}

/**
 * Whether the other end of a TCP connection has not broken it off: until then nobody else can have its address and port.
 * That it has sent all it has to say is no breaking off. Throws `io`.
 */
export function isConnected(fd: number): boolean {
  // The kernel gives as much of the answer as there is room for.
  const value = Buffer.alloc(4);
  const { errno } = get(fd, SOL_TCP, TCP_INFO, value);
  if (errno !== 0) throw failed('TCP_INFO', errno);
  return value[0] === TCP_ESTABLISHED || value[0] === TCP_CLOSE_WAIT;
}

/**
 * Where a connection went before the firewall redirected it to this socket; undefined where the kernel knows of no
 * such thing. Where connections are tracked but this one was not redirected, it is the socket's own address.
 * Throws `io`.
 */
export function originalDestination(fd: number, family: 4 | 6): SocketAddressOf | undefined {
  const value = Buffer.alloc(family === 4 ? 16 : 28);
  const { errno, length } = get(fd, family === 4 ? SOL_IP : SOL_IPV6, SO_ORIGINAL_DST, value);
  if (errno === ENOENT || errno === ENOPROTOOPT) return undefined;
  if (errno !== 0) throw failed('SO_ORIGINAL_DST', errno);
  if (length !== value.length || value.readUInt16LE(0) !== (family === 4 ? AF_INET : AF_INET6))
    return undefined;
  const port = value.readUInt16BE(2);
  const host = family === 4 ? addressOf(value.subarray(4, 8)) : addressOf(value.subarray(8, 24));
  return { host, port };
}

/** The text of 4 or 16 bytes; IPv4 that stands in IPv6 is IPv4. */
export function addressOf(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.readBigUInt64BE(0) === 0n && bytes.readUInt32BE(8) === 0xff_ff)
    return bytes.subarray(12).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16));
  return groups.join(':');
}

function get(fd: number, level: number, name: number, value: Buffer): { length: number; errno: number } {
  const { getsockopt, errno } = calls();
  const length = Buffer.alloc(4);
  length.writeUInt32LE(value.length);
  const result = getsockopt(fd, level, name, value, length);
  return { length: length.readUInt32LE(0), errno: result === 0 ? 0 : errno() };
}

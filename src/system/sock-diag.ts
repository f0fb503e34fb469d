import { isIPv4 } from 'node:net';
import { InterlockError } from '../access/index.ts';
import { failed, library } from './library.ts';
import { addressOf, type SocketAddressOf } from './socket-options.ts';

// sock_diag(7), <linux/inet_diag.h>: the kernel's own table of sockets, asked by both ends of one connection.
const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0x8_0000;
const NETLINK_SOCK_DIAG = 4;
const MSG_DONTWAIT = 0x40;
const SOCK_DIAG_BY_FAMILY = 20;
const NLMSG_ERROR = 2;
const NLM_F_REQUEST = 1;
const IPPROTO_TCP = 6;
const ALL_STATES = 0xffff_ffff;

const HEADER_BYTES = 16;
const REQUEST_BYTES = HEADER_BYTES + 56;
const MESSAGE_BYTES = 72;
const MAX_ANSWER_BYTES = 8192;
const INET_DIAG_MARK = 15;
/** Since Linux 5.9. */
const INET_DIAG_CGROUP_ID = 21;

const TCP_TIME_WAIT = 6;
const TCP_CLOSE = 7;
const TCP_LISTEN = 10;
const TCP_NEW_SYN_RECV = 12;

const ENOENT = 2;
const EINTR = 4;
const EAGAIN = 11;
/** Answers of questions that were given up are in the way at most so often. */
const MAX_STALE = 16;

/** A TCP connection, seen from the socket that is asked about. */
export interface SocketTuple {
  readonly local: SocketAddressOf;
  readonly remote: SocketAddressOf;
}

/** What the kernel notes of whoever made a socket. */
export interface SocketOwner {
  /** Undefined once no process holds the socket any more: then older kernels name the superuser, which proves nothing. */
  readonly held?: { readonly uid: number; readonly inode: number };
  /** Of version 2's hierarchy; absent before Linux 5.9. */
  readonly cgroup?: bigint;
  /** Absent without CAP_NET_ADMIN. */
  readonly mark?: number;
}

type Calls = ReturnType<typeof load>;
let loaded: Calls | undefined;

function load() {
  const { getFunction, errno } = library();
  return {
    socket: getFunction('socket', { return: 'i32', arguments: ['i32', 'i32', 'i32'] }),
    send: getFunction('send', { return: 'i64', arguments: ['i32', 'buffer', 'u64', 'i32'] }),
    recv: getFunction('recv', { return: 'i64', arguments: ['i32', 'buffer', 'u64', 'i32'] }),
    close: getFunction('close', { return: 'i32', arguments: ['i32'] }),
    errno,
  };
}

/**
 * Questions about TCP sockets of this network namespace. The kernel answers within the call that asks, so that nothing
 * waits; one question costs some tens of microseconds.
 */
export class SockDiag {
  readonly #calls: Calls;
  readonly #answer = Buffer.alloc(MAX_ANSWER_BYTES);
  #fd: number;
  #sequence = 0;

  /** Throws `io`, and `unavailable` on another platform. */
  constructor() {
    loaded ??= load();
    this.#calls = loaded;
    this.#fd = this.#calls.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_SOCK_DIAG);
    if (this.#fd < 0) throw failed('a socket for sock_diag', this.#calls.errno());
  }

  /** Whose the socket of a connection is; undefined where there is none such here. Throws `io`. */
  connection(tuple: SocketTuple): SocketOwner | undefined {
    const answer = this.#ask(tuple);
    if (answer === undefined || !isSame(answer, tuple)) return undefined;
    const { state } = answer;
    // In these states there is no socket of a process behind the entry.
    if (state === TCP_LISTEN || state === TCP_TIME_WAIT || state === TCP_CLOSE || state === TCP_NEW_SYN_RECV)
      return undefined;
    return answer.owner;
  }

  /** Whose the socket is that takes connections at an address; undefined where none does here. Throws `io`. */
  listener(local: SocketAddressOf): SocketOwner | undefined {
    // The kernel gives the best listener for a connection that does not exist: nobody sends from port 0.
    const host = isIPv4(local.host) ? '0.0.0.0' : '::';
    const answer = this.#ask({ local, remote: { host, port: 0 } });
    return answer?.state === TCP_LISTEN && answer.local.port === local.port ? answer.owner : undefined;
  }

  close(): void {
    const fd = this.#fd;
    this.#fd = -1;
    if (fd >= 0) this.#calls.close(fd);
  }

  #ask(tuple: SocketTuple): Answer | undefined {
    if (this.#fd < 0) throw new TypeError('this SockDiag is closed');
    const request = requestOf(tuple, ++this.#sequence);
    const { send, recv, errno } = this.#calls;
    while (send(this.#fd, request, BigInt(request.length), MSG_DONTWAIT) < 0n) {
      const code = errno();
      if (code !== EINTR) throw failed('sock_diag', code);
    }
    for (let stale = 0; stale < MAX_STALE; ) {
      const length = Number(recv(this.#fd, this.#answer, BigInt(this.#answer.length), MSG_DONTWAIT));
      if (length < 0) {
        const code = errno();
        if (code === EINTR) continue;
        if (code === EAGAIN) break;
        throw failed('sock_diag', code);
      }
      const bytes = this.#answer.subarray(0, length);
      if (length < HEADER_BYTES || bytes.readUInt32LE(8) !== this.#sequence) stale++;
      else return answerIn(bytes);
    }
    throw new InterlockError('io', 'sock_diag', 'the kernel gives no answer to this question');
  }
}

interface Answer extends SocketTuple {
  readonly state: number;
  readonly owner: SocketOwner;
}

function requestOf({ local, remote }: SocketTuple, sequence: number): Buffer {
  const isV4 = isIPv4(local.host);
  const request = Buffer.alloc(REQUEST_BYTES);
  request.writeUInt32LE(REQUEST_BYTES, 0);
  request.writeUInt16LE(SOCK_DIAG_BY_FAMILY, 4);
  request.writeUInt16LE(NLM_F_REQUEST, 6);
  request.writeUInt32LE(sequence, 8);
  request[16] = isV4 ? AF_INET : AF_INET6;
  request[17] = IPPROTO_TCP;
  request.writeUInt32LE(ALL_STATES, 20);
  request.writeUInt16BE(local.port, 24);
  request.writeUInt16BE(remote.port, 26);
  bytesOf(local.host, isV4).copy(request, 28);
  bytesOf(remote.host, isV4).copy(request, 44);
  // INET_DIAG_NOCOOKIE: any socket with these ends.
  request.fill(0xff, 64, 72);
  return request;
}

function answerIn(bytes: Buffer): Answer | undefined {
  const type = bytes.readUInt16LE(4);
  if (type === NLMSG_ERROR) {
    const errno = bytes.length >= HEADER_BYTES + 4 ? -bytes.readInt32LE(HEADER_BYTES) : 0;
    if (errno === ENOENT) return undefined;
    throw failed('sock_diag', errno);
  }
  if (type !== SOCK_DIAG_BY_FAMILY || bytes.length < HEADER_BYTES + MESSAGE_BYTES)
    throw new InterlockError('io', 'sock_diag', 'the kernel gives an answer of another form');
  const message = bytes.subarray(HEADER_BYTES);
  const size = message[0] === AF_INET ? 4 : 16;
  const uid = message.readUInt32LE(64);
  const inode = message.readUInt32LE(68);
  const attributes = attributesIn(message.subarray(MESSAGE_BYTES));
  const mark = attributes.get(INET_DIAG_MARK);
  const cgroup = attributes.get(INET_DIAG_CGROUP_ID);
  return {
    local: { host: addressOf(message.subarray(8, 8 + size)), port: message.readUInt16BE(4) },
    remote: { host: addressOf(message.subarray(24, 24 + size)), port: message.readUInt16BE(6) },
    state: message[1] ?? 0,
    owner: {
      ...(inode === 0 ? {} : { held: { uid, inode } }),
      ...(mark === undefined || mark.length < 4 ? {} : { mark: mark.readUInt32LE(0) }),
      ...(cgroup === undefined || cgroup.length < 8 ? {} : { cgroup: cgroup.readBigUInt64LE(0) }),
    },
  };
}

/** Netlink's attributes: length (with this head), type, value, and zeros up to a multiple of four. */
function attributesIn(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    found.set(bytes.readUInt16LE(at + 2), bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

/** The kernel looks for the best match, which may be a listener, or an entry for all addresses. */
function isSame(answer: SocketTuple, asked: SocketTuple): boolean {
  return isSameEnd(answer.local, asked.local) && isSameEnd(answer.remote, asked.remote);
}

function isSameEnd(a: SocketAddressOf, b: SocketAddressOf): boolean {
  const isV4 = isIPv4(b.host);
  return a.port === b.port && isIPv4(a.host) === isV4 && bytesOf(a.host, isV4).equals(bytesOf(b.host, isV4));
}

function bytesOf(host: string, isV4: boolean): Buffer {
  if (isV4) return Buffer.from(host.split('.').map(Number));
  const [head = '', tail] = host.split('::');
  const groups = (text: string) =>
    text === ''
      ? []
      : text.split(':').flatMap((group) => {
          if (!group.includes('.')) return [Number.parseInt(group, 16)];
          const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
          return [a * 256 + b, c * 256 + d];
        });
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const all = [...before, ...Array<number>(Math.max(0, 8 - before.length - after.length)).fill(0), ...after];
  const bytes = Buffer.alloc(16);
  for (const [i, group] of all.slice(0, 8).entries()) bytes.writeUInt16BE(group & 0xffff, i * 2);
  return bytes;
}

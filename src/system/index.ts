export { cgroupMount, processesOf } from './cgroup.ts';
export * from './linux.ts';
export { collectGarbage, giveBackMemory } from './memory.ts';
export { type LiveProcess, openProcess, peerProcess } from './live-process.ts';
export { type SocketOwner, SockDiag, type SocketTuple } from './sock-diag.ts';
export {
  isConnected,
  markOf,
  originalDestination,
  setMark,
  type SocketAddressOf,
} from './socket-options.ts';
export { strangersUid, uidOf } from './users.ts';

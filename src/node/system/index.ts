export * from './linux.ts';
export { type LiveProcess, openProcess, peerProcess } from './live-process.ts';

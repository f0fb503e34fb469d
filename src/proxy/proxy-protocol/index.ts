export type { ProxyHeader } from './header.ts';
export { readProxyHeader, signatureOf } from './read.ts';
export { proxyHeader } from './write.ts';

// What a proxy is told to do, apart from the proxy: the control plane reads the same documents for Envoys.
export { type ProxyDocument, readProxyDocument } from '../program/document.ts';

export { type NodeProxyDocument, readNodeProxyDocument } from './document.ts';
export { openNodePorts } from './ports.ts';

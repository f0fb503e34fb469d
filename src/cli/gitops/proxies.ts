import { isInterlockError } from '../../access/index.ts';
import { readProxyDocument } from '../../proxy/document/index.ts';
import type { EnvoyProxy } from './documents.ts';

/** Reads a Proxy document that names its workload; none is that of an Envoy without. Throws as its reader does. */
export function readEnvoyProxy(text: string, file: string): EnvoyProxy[] {
  const document = readProxyDocument(text, file);
  const { workload, name } = document;
  return workload === undefined ? [] : [{ metadata: { name }, workload, document, text }];
}

/** The one that a control plane holds; undefined for what this program cannot read. */
export function knownProxy(text: string): EnvoyProxy | undefined {
  try {
    return readEnvoyProxy(text, 'there')[0];
  } catch (error) {
    if (isInterlockError(error)) return undefined;
    throw error;
  }
}

import { cgroupMount, SockDiag, type SocketTuple } from '../../system/index.ts';
import type { InterlockError, SpiffeId } from '../../access/index.ts';
import type { Clock, X509View } from '../../workload/index.ts';
import type { PortParts, Ports } from '../program/ports.ts';
import { DelegatedClient } from './delegated-client.ts';
import { type NodeProxyDocument, portsOf } from './document.ts';
import { NodeInbound } from './inbound.ts';
import { NodeOutbound } from './outbound.ts';
import { Owners } from './owners.ts';
import { Proc } from './proc.ts';
import { ProcessBook } from './process-book.ts';
import { Programs } from './programs.ts';
import { Unmanaged } from './unmanaged.ts';

export interface NodePortsOptions {
  readonly document: NodeProxyDocument;
  /** `unix:///path` of the agent's admin socket. */
  readonly adminEndpoint: string;
  /** The node proxy's own identity. */
  readonly own: X509View;
  readonly clock: Clock;
  readonly onFault: (error: InterlockError) => void;
}

/**
 * Opens the ports of a node proxy: what arrives and what leaves is told apart by the processes of this node, each under
 * the identity that the agent gives it. Rejects with the system's error, and `unavailable` where the kernel cannot be
 * asked.
 */
export async function openNodePorts(options: NodePortsOptions, parts: PortParts): Promise<Ports> {
  const { document, adminEndpoint, own, clock, onFault } = options;
  const { context, uplinks, http2 } = parts;
  const diag = new SockDiag();
  const proc = new Proc(cgroupMount());
  const book = new ProcessBook({
    client: new DelegatedClient(adminEndpoint, clock),
    proc,
    workloads: new Set(document.workloads.map(({ id }) => id)),
    own,
    clock,
    onView: (workload, view) => uplinks.add(workload, view),
    onFault,
  });
  const marks = new Map<number, SpiffeId>();
  for (const { id, mark } of document.workloads) if (mark !== undefined) marks.set(mark, id);
  const owners = new Owners({ diag, proc, book, marks, self: process.pid });
  const programs = new Programs(diag, owners, book);
  const unmanaged = new Unmanaged();
  const callerOf = async (tuple: SocketTuple) => {
    try {
      return (await owners.connection(tuple)).workload;
    } catch {
      // It is nice to know, and nothing depends on it.
      return undefined;
    }
  };
  const inbound: NodeInbound[] = [];
  let outbound: NodeOutbound | undefined;
  const close = () => {
    for (const port of inbound) port.close();
    outbound?.close();
    book.close();
    diag.close();
  };
  try {
    for (const routes of portsOf(document.inbound).values())
      inbound.push(await NodeInbound.open({ routes, context, programs, http2: http2.inbound, callerOf }));
    outbound = await NodeOutbound.open({
      document,
      uplinks,
      context,
      owners,
      unmanaged,
      http2: http2.outbound,
    });
  } catch (error) {
    close();
    throw error;
  }
  const opened = outbound;
  return {
    addresses: { inbound: inbound.map(({ address }) => address), outbound: opened.addresses },
    get size() {
      return inbound.reduce((sum, { size }) => sum + size, opened.size);
    },
    // Those of workloads are renewed while they run: that one which has ended is old means nothing.
    identities: [own],
    get details() {
      return {
        identities: [...book.views.all].map(([workload, { state }]) => ({
          workload,
          serial: state.svid.chain[0]?.serial,
          ends: state.svid.expiresAt,
        })),
        processes: book.size,
        unmanaged: { total: unmanaged.total, calls: unmanaged.calls },
      };
    },
    rejudge: (graceOf) => {
      for (const port of inbound) port.rejudge(graceOf);
    },
    drain: async (withinMs) => {
      await Promise.all([...inbound, opened].map((port) => port.drain(withinMs)));
      close();
    },
    close,
  };
}

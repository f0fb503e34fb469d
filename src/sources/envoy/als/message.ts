import { type LogEntry, type MetadataSlots, readHttpEntry, readTcpEntry } from './entry.ts';
import { LENGTH, Wire } from './wire.ts';

const MAX_NAME_BYTES = 4096;

/** A StreamAccessLogsMessage, as far as it is read. */
export interface LogMessage {
  /** Of the first message of a stream: the node's ID and the name of the log. */
  readonly identifier?: { readonly node: string; readonly logName: string };
  readonly http: readonly LogEntry[];
  readonly tcp: readonly LogEntry[];
}

/** Reads a message. Throws {@link WireError} for bytes that are none. */
export function readLogMessage(bytes: Buffer, slots: MetadataSlots): LogMessage {
  const wire = new Wire(bytes);
  let identifier: LogMessage['identifier'];
  const http: LogEntry[] = [];
  const tcp: LogEntry[] = [];
  while (wire.next()) {
    if (wire.type !== LENGTH || wire.field > 3) {
      wire.skip();
      continue;
    }
    const { field } = wire;
    if (field === 1) {
      identifier = readIdentifier(wire);
      continue;
    }
    const outer = wire.enter();
    while (wire.next()) {
      if (!wire.holds(1)) wire.skip();
      else if (field === 2) http.push(readHttpEntry(wire, slots));
      else tcp.push(readTcpEntry(wire, slots));
    }
    wire.leave(outer);
  }
  return { ...(identifier === undefined ? {} : { identifier }), http, tcp };
}

function readIdentifier(wire: Wire): { node: string; logName: string } {
  let node = '';
  let logName = '';
  const outer = wire.enter();
  while (wire.next()) {
    if (wire.holds(1)) {
      const inner = wire.enter();
      while (wire.next()) {
        if (wire.holds(1)) node = wire.text(MAX_NAME_BYTES) ?? '';
        else wire.skip();
      }
      wire.leave(inner);
    } else if (wire.holds(2)) logName = wire.text(MAX_NAME_BYTES) ?? '';
    else wire.skip();
  }
  wire.leave(outer);
  return { node, logName };
}

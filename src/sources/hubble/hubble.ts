import type { Source } from '../source.ts';
import { asObject, type Json } from './json.ts';
import { HubbleReader } from './reader.ts';

/** Lines that are looked at to tell the format; a recording may begin with lost events. */
const LINES_LOOKED_AT = 50;

/**
 * Cilium Hubble's flows as `hubble observe -o json` prints them: one flow a line, bare or as `{"flow":...}`,
 * with lost events between them.
 */
export const hubble: Source = {
  format: 'hubble',
  framing: 'lines',
  detect,
  open: (tally, options) => new HubbleReader(tally, options.now),
};

/** 1 where a line is a flow; less where there are only the stream's other entries; else 0. */
function detect(head: string): number {
  let best = 0;
  for (const line of head.replace(/^\uFEFF/, '').split('\n', LINES_LOOKED_AT)) {
    const entry = objectIn(line);
    if (entry === undefined) continue;
    const flow = asObject(entry['flow']);
    if (isFlow(flow ?? entry)) return 1;
    if (asObject(entry['lost_events'] ?? entry['lostEvents']) !== undefined) best = 0.9;
    for (const other of ['node_status', 'agent_event', 'debug_event']) {
      if (asObject(entry[other]) !== undefined) best = Math.max(best, 0.5);
    }
  }
  return best;
}

/** A verdict or observation beside addresses under Hubble's own capitals: no other format here has both. */
function isFlow(entry: Json): boolean {
  const stated = entry['verdict'] ?? entry['Type'] ?? entry['event_type'] ?? entry['eventType'];
  return stated !== undefined && (asObject(entry['IP']) ?? asObject(entry['l4'])) !== undefined;
}

function objectIn(line: string): Json | undefined {
  if (!/^\s*\{/.test(line)) return undefined;
  try {
    return asObject(JSON.parse(line));
  } catch {
    return undefined;
  }
}

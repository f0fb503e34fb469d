import type { Endpoint, Outcome, Tally } from '../../access/index.ts';
import { MAX_FUTURE_MS, MIN_TIME_MS, type Reader } from '../source.ts';
import { CountedCall } from './call.ts';
import { Connections, type Tuple } from './connections.ts';
import { DnsNames } from './dns-names.ts';
import { type End, Ends } from './ends.ts';
import { type DnsRecord, type Flow, type HttpRecord, type RawEnd, readFlow } from './flow.ts';
import { Hints } from './hints.ts';
import { asObject, type Json, NotUsable, numberAt, objectAt, textAt, tooDeep, valueAt } from './json.ts';
import { actionOf, outcomeOfResponse, Requests } from './requests.ts';

/** First port that Linux gives to callers by default (ip_local_port_range). */
const FIRST_CALLER_PORT = 32_768;
const DNS_PORT = 53;
/** Nodes whose lost events are told apart: twice what Kubernetes is tested with. */
const MAX_LOSERS = 10_000;
/** Different datagram blind spots reported; more of them tell nobody anything new. */
const MAX_DATAGRAM_SPOTS = 10_000;

/** Entries of the stream that are no flows, by their field in observer.proto's GetFlowsResponse. */
const NOT_FLOWS = ['node_status', 'agent_event', 'debug_event'] as const;

/** What was made of a verdict; a verdict that is not here is none. AUDIT let pass what it would have dropped. */
const PASSED = new Set(['FORWARDED', 'REDIRECTED', 'TRACED', 'TRANSLATED', 'AUDIT']);

const BYTE_ORDER_MARK = 0xfeff;
const REPLY = 'a reply, not a call';

/** Reads `hubble observe -o json`, one entry a line. */
export class HubbleReader implements Reader {
  readonly #tally: Tally;
  readonly #latest: number;
  readonly #names = new DnsNames();
  readonly #ends: Ends;
  readonly #connections = new Connections();
  readonly #requests = new Requests();
  readonly #hints = new Hints();
  readonly #datagramSpots = new Set<string>();

  /** `now` in milliseconds since 1970 UTC. */
  constructor(tally: Tally, now: number) {
    this.#tally = tally;
    this.#latest = now + MAX_FUTURE_MS;
    this.#ends = new Ends(tally, this.#names);
  }

  line(bytes: Buffer, number: number): void {
    const whole = bytes.toString('utf8');
    const text = whole.charCodeAt(0) === BYTE_ORDER_MARK ? whole.slice(1) : whole;
    if (!/\S/.test(text)) return;
    this.#tally.read++;
    try {
      if (tooDeep(text)) throw new NotUsable('JSON that is nested too deep');
      const reason = this.#take(parse(text));
      if (reason === undefined) this.#tally.accepted++;
      else this.#tally.skip(reason, number, text);
    } catch (error) {
      if (!(error instanceof NotUsable)) throw error;
      this.#tally.skip(error.reason, number, text);
    }
  }

  end(): void {
    this.#hints.end();
  }

  /** Takes in one entry, or gives the reason why it is left out. Throws {@link NotUsable} where it is broken. */
  #take(entry: Json): string | undefined {
    const lost = objectAt(entry, 'lost_events');
    if (lost !== undefined) {
      this.#lose(entry, lost);
      return undefined;
    }
    for (const field of NOT_FLOWS) {
      if (objectAt(entry, field) !== undefined) return `not a flow: ${field}`;
    }
    const envelope = objectAt(entry, 'flow');
    if (
      envelope === undefined &&
      objectAt(entry, 'IP') === undefined &&
      valueAt(entry, 'verdict') === undefined
    ) {
      throw new NotUsable('JSON that is no entry of Hubble');
    }
    const flow = readFlow(envelope ?? entry, valueAt(entry, 'time'));
    if (flow.at > this.#latest) throw new NotUsable('a time in the future');
    if (flow.at < MIN_TIME_MS) throw new NotUsable('a time before 2010');
    const reason = this.#flow(flow);
    if (reason === undefined) this.#tally.cover(flow.at);
    return reason;
  }

  #lose(entry: Json, lost: Json): void {
    const n = numberAt(lost, 'num_events_lost', Number.MAX_SAFE_INTEGER) ?? 0;
    const where = valueAt(lost, 'source');
    const node = textAt(entry, 'node_name');
    const by =
      typeof where === 'string' && /^[A-Z_]{1,64}$/.test(where) ? where : 'UNKNOWN_LOST_EVENT_SOURCE';
    const named = node !== undefined && this.#tally.lost.size < MAX_LOSERS;
    this.#tally.lose(named ? `${node.slice(0, 253)} ${by}` : by, n);
  }

  #flow(flow: Flow): string | undefined {
    if (flow.l7?.kind === 'http') return this.#http(flow, flow.l7);
    if (flow.l7?.kind === 'dns') return this.#dns(flow, flow.l7);
    if (flow.l7 !== undefined || flow.type === 'L7') {
      return 'a request of a protocol that is not read; its connection is';
    }
    if (flow.protocol === undefined) return 'a packet without a transport protocol';
    if (flow.protocol !== 'TCP') return this.#datagram(flow, flow.protocol);
    return flow.type === 'SOCK' || flow.sockPoint !== undefined ? this.#socket(flow) : this.#tcp(flow);
  }

  #http(flow: Flow, http: HttpRecord): string | undefined {
    const { at, side } = flow;
    if (http.type === 'REQUEST') {
      const outcome = outcomeOf(flow);
      const { from, to, tuple } = this.#towards(flow);
      const counter = this.#tally.access(from.endpoint, to, actionOf(http, tuple.destinationPort), side);
      const call = new CountedCall(counter, at, outcome, from.instance);
      this.#requests.sent(tuple, side, http, call);
      return undefined;
    }
    if (http.type !== 'RESPONSE') return 'an HTTP message that is neither request nor response';
    // Today's responses run from the callee to the caller; older ones repeat the request's ends.
    const back = reversed(flow);
    const verdict = outcomeOf(flow);
    const outcome = verdict === 'ok' ? outcomeOfResponse(http) : verdict;
    for (const way of [back, flow]) {
      if (this.#requests.answered(tupleOf(way), side, http, at, outcome)) return undefined;
    }
    // A response alone: its call began before the recording, or the recording was filtered by status code.
    const way = isCallerPort(flow.sourcePort) && !isCallerPort(flow.destinationPort) ? flow : back;
    const { from, to, tuple } = this.#towards(way);
    const counter = this.#tally.access(from.endpoint, to, actionOf(http, tuple.destinationPort), side);
    counter.add(at, outcome, from.instance);
    return undefined;
  }

  #dns(flow: Flow, dns: DnsRecord): string {
    if (dns.query !== undefined && dns.ips.length > 0) {
      const asker = flow.sourcePort === DNS_PORT ? flow.destination : flow.source;
      this.#names.learn(asker.ip, dns.query, dns.ips);
    }
    return 'a DNS message: read for its names only';
  }

  /**
   * UDP and SCTP are no action that a policy can name, and yet a policy on their callee may cut them off: a
   * NetworkPolicy that selects kube-dns for its TCP port denies every lookup. So a workload that is called this
   * way is a blind spot of its own; a callee outside has no policy and is only counted.
   */
  #datagram(flow: Flow, protocol: string): string {
    const back = flow.reply ?? (isCallerPort(flow.destinationPort) && !isCallerPort(flow.sourcePort));
    if (protocol !== 'ICMP' && !back && flow.destinationPort > 0 && PASSED.has(flow.verdict)) {
      const { from, to } = this.#towards(flow);
      const dns = flow.destinationPort === DNS_PORT ? 'DNS over ' : '';
      const what = `${dns}${protocol} to port ${flow.destinationPort}, which no policy can name`;
      if (isWorkload(to)) this.#spot(from.endpoint, to, what, flow.at);
    }
    return `${protocol}: not a connection that Interlock governs yet`;
  }

  #spot(from: Endpoint, to: Endpoint, what: string, at: number): void {
    const key = JSON.stringify([from, to, what]);
    if (!this.#datagramSpots.has(key)) {
      if (this.#datagramSpots.size >= MAX_DATAGRAM_SPOTS) return;
      this.#datagramSpots.add(key);
    }
    this.#tally.blindSpot({ kind: 'l4-only', from, to, what }, at);
  }

  #tcp(flow: Flow): string | undefined {
    if (flow.destinationPort === 0) return 'TCP without a port';
    if (this.#isReply(flow)) {
      this.#connections.reply(tupleOf(reversed(flow)), flow.at, { rst: flow.flags?.rst === true });
      return REPLY;
    }
    if (flow.flags?.rst === true) return 'a reset by the caller, which shows no call';
    const { at, side, flags } = flow;
    const outcome = outcomeOf(flow);
    const { from, to: called, tuple } = this.#towards(flow);
    const to = flow.untranslated === undefined ? called : { host: flow.untranslated };
    const count = () =>
      this.#tally.access(from.endpoint, to, { kind: 'tcp', port: tuple.destinationPort }, side);
    if (flow.untranslated !== undefined) {
      this.#hints.untranslated(tuple, () => count().add(at, outcome, from.instance));
      return undefined;
    }
    const packet = {
      kind: flags?.syn === true ? ('syn' as const) : ('data' as const),
      at,
      side,
      outcome,
      mutual: flow.authType === 'SPIRE',
      instance: from.instance,
    };
    const counted = this.#connections.forward(tuple, packet, count);
    this.#hints.seen(tuple);
    return counted ? undefined : 'a further packet of a connection that is counted';
  }

  #socket(flow: Flow): string | undefined {
    if (flow.reply === true || flow.sockPoint?.endsWith('REV')) return REPLY;
    if (flow.sockPoint?.startsWith('PRE')) return "a socket's address before its translation";
    if (flow.destinationPort === 0) return 'TCP without a port';
    const { from, to, tuple } = this.#towards(flow);
    const outcome = outcomeOf(flow);
    this.#hints.connecting(tuple, () =>
      this.#tally
        .access(from.endpoint, to, { kind: 'tcp', port: tuple.destinationPort }, 'caller')
        .add(flow.at, outcome, from.instance),
    );
    return undefined;
  }

  /**
   * Whether a packet runs back to the caller: its flags say so, or the recording, or a connection known from
   * earlier packets, or the one port that Linux gives to callers. Throws where none of them tells.
   */
  #isReply(flow: Flow): boolean {
    if (flow.flags?.syn === true) return flow.flags.ack;
    if (flow.reply !== undefined) return flow.reply;
    if (this.#connections.has(tupleOf(flow))) return false;
    if (this.#connections.has(tupleOf(reversed(flow)))) return true;
    const back = isCallerPort(flow.destinationPort);
    if (back === isCallerPort(flow.sourcePort)) {
      throw new NotUsable('a packet that may be a call or a reply: the recording does not say');
    }
    return back;
  }

  #towards(flow: Flow): { from: End; to: Endpoint; tuple: Tuple } {
    return {
      from: this.#ends.caller(flow.source, flow.at),
      to: this.#ends.callee(flow.destination, flow.source.ip, flow.at).endpoint,
      tuple: tupleOf(flow),
    };
  }
}

function parse(text: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new NotUsable('not JSON');
  }
  const entry = asObject(value);
  if (entry === undefined) throw new NotUsable('JSON that is no entry of Hubble');
  return entry;
}

function outcomeOf(flow: Flow): Outcome {
  if (PASSED.has(flow.verdict)) return 'ok';
  if (flow.verdict === 'DROPPED') return flow.byPolicy ? 'denied' : 'failed';
  if (flow.verdict === 'ERROR') return 'failed';
  throw new NotUsable('a flow without a verdict that is known');
}

/** Dumps without addresses tell connections apart by their pods. */
function tupleOf(flow: Flow): Tuple {
  const { source, destination, sourcePort, destinationPort } = flow;
  return {
    sourceIp: source.ip || podName(source),
    sourcePort,
    destinationIp: destination.ip || podName(destination),
    destinationPort,
  };
}

function podName(end: RawEnd): string {
  return `${end.namespace ?? ''}/${end.pod ?? ''}`.slice(0, 512);
}

/** The flow from the other end's point of view. */
function reversed(flow: Flow): Flow {
  return {
    ...flow,
    source: flow.destination,
    destination: flow.source,
    sourcePort: flow.destinationPort,
    destinationPort: flow.sourcePort,
  };
}

function isCallerPort(port: number): boolean {
  return port >= FIRST_CALLER_PORT;
}

function isWorkload(end: Endpoint): boolean {
  return (end.spiffeId ?? end.workload ?? end.serviceAccount ?? end.pod) !== undefined;
}

import { randomBytes } from 'node:crypto';
import { type Edge, isSameEdge } from './edges.ts';
import type { GraphMoment } from './graph.ts';
import { bytesOf, joined } from './joined.ts';

/** Nodes and edges that are gone are named to who knows of them, so many at most: whoever is further behind reads all. */
const MOST_GONE = 2000;
/** Things that are looked at in one step. */
const STEP = 64;

/** A node or an edge, with the version in which it came to say what it says. */
interface Part {
  edge: Edge | undefined;
  /** Its JSON; of an edge it is made when it is first asked for. */
  text: string | undefined;
  version: number;
  /** The last moment that it was part of. */
  round: number;
}

interface Gone {
  readonly version: number;
  readonly from: string;
  /** Of an edge. */
  readonly to: string | undefined;
}

/** One moment's answer to one question about the graph after the other: as a whole, and what has changed since another one. */
export class GraphHistory {
  /** Names this history: a version of another one, here or at another control plane, says nothing. */
  readonly #run = randomBytes(9).toString('base64url');
  readonly #nodes = new Map<string, Part>();
  /** By callee and caller. */
  readonly #edges = new Map<string, Map<string, Part>>();
  readonly #gone: Gone[] = [];
  /** The oldest version that changes since are known of. */
  #oldest = 1;
  #version = 0;
  #round = 0;
  #trustDomain = '';
  #isCut = false;

  /** The version of what it says now. */
  get version(): string {
    return `${this.#run}-${this.#version}`;
  }

  /** Takes in what there is now; in small steps, between which nothing else may be asked of it. */
  *take({ trustDomain, nodes, edges, isCut }: GraphMoment): Generator<void, void> {
    const version = this.#version + 1;
    const round = ++this.#round;
    let isChanged = version === 1 || isCut !== this.#isCut || trustDomain !== this.#trustDomain;
    for (const node of nodes) {
      const text = JSON.stringify(node);
      const known = this.#nodes.get(node.id);
      if (known?.text === text) known.round = round;
      else {
        this.#nodes.set(node.id, { edge: undefined, text, version, round });
        isChanged = true;
      }
      yield;
    }
    for (const [i, edge] of edges.entries()) {
      let callers = this.#edges.get(edge.to);
      if (callers === undefined) this.#edges.set(edge.to, (callers = new Map()));
      const known = callers.get(edge.from);
      if (known?.edge !== undefined && isSameEdge(known.edge, edge)) known.round = round;
      else {
        callers.set(edge.from, { edge, text: undefined, version, round });
        isChanged = true;
      }
      if (i % STEP === 0) yield;
    }
    isChanged = this.#sweep(this.#nodes, undefined, version) || isChanged;
    for (const [to, callers] of this.#edges) {
      isChanged = this.#sweep(callers, to, version) || isChanged;
      if (callers.size === 0) this.#edges.delete(to);
      yield;
    }
    this.#trustDomain = trustDomain;
    this.#isCut = isCut;
    if (isChanged) this.#version = version;
  }

  /** All of it as JSON. */
  *whole(): Generator<void, Uint8Array<ArrayBuffer>> {
    return yield* this.#json(0, '');
  }

  /** What has changed since a version as JSON; undefined where that is not known. Nothing has since the present one. */
  *since(version: string): Generator<void, Uint8Array<ArrayBuffer> | undefined> {
    const [, run, digits] = /^([\w-]{12})-(\d{1,15})$/.exec(version) ?? [];
    const since = Number(digits);
    if (run !== this.#run || since < this.#oldest || since > this.#version) return undefined;
    const nodes: string[] = [];
    const edges: { from: string; to: string }[] = [];
    for (const gone of this.#gone) {
      const { from, to } = gone;
      if (gone.version <= since) continue;
      if (to === undefined) {
        if (!this.#nodes.has(from)) nodes.push(from);
      } else if (this.#edges.get(to)?.has(from) !== true) edges.push({ from, to });
    }
    return yield* this.#json(
      since,
      `"since":${JSON.stringify(version)},"gone":${JSON.stringify({ nodes, edges })},`,
    );
  }

  *#json(since: number, head: string): Generator<void, Uint8Array<ArrayBuffer>> {
    const isLater = (part: Part) => part.version > since;
    const nodes = [...this.#nodes.values()].filter(isLater);
    const edges: Part[] = [];
    for (const callers of this.#edges.values())
      for (const part of callers.values()) if (isLater(part)) edges.push(part);
    const names = `"version":${JSON.stringify(this.version)},"trustDomain":${JSON.stringify(this.#trustDomain)}`;
    return bytesOf([
      Buffer.from(`{${head}${names},"nodes":[`),
      yield* joined(nodes, textOf),
      Buffer.from('],"edges":['),
      yield* joined(edges, textOf),
      Buffer.from(`],"isCut":${this.#isCut}}`),
    ]);
  }

  /** Lets go of what this moment does not have any more; whether there was any. */
  #sweep(parts: Map<string, Part>, to: string | undefined, version: number): boolean {
    let hasGone = false;
    for (const [from, { round }] of parts) {
      if (round === this.#round) continue;
      parts.delete(from);
      this.#gone.push({ version, from, to });
      hasGone = true;
    }
    while (this.#gone.length > MOST_GONE) this.#oldest = this.#gone.shift()?.version ?? version;
    return hasGone;
  }
}

function textOf(part: Part): string {
  return (part.text ??= JSON.stringify(part.edge));
}

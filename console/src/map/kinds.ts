import type { Answer } from '../../../src/api/index.ts';

/** The graph as the control plane gives it: one edge for each pair of workloads. */
export type GraphAnswer = Answer<'graph.get'>;
type EdgeAnswer = GraphAnswer['edges'][number];
export type View = keyof EdgeAnswer['views'];

export const VIEWS = ['possible', 'declared', 'observed', 'authorized'] as const satisfies readonly View[];

/** What a line on the map says, the worst first: a line that stands for several things shows the first of them. */
export const KINDS = [
  'would-deny',
  'denied',
  'plaintext',
  'unused',
  'declared',
  'possible',
  'open',
  'allowed',
] as const;
export type Kind = (typeof KINDS)[number];

/** What makes a line stand out beside its kind. */
export const MARKS = ['fresh', 'lone'] as const;
export type Mark = (typeof MARKS)[number];

interface KindRow {
  readonly label: string;
  /** The sentence behind the label. */
  readonly what: string;
  /** It is shown while one of these views is. */
  readonly views: readonly View[];
  /** What a count of it begins with: the form that says the same as the colour. */
  readonly sign: string;
}

export const KIND: Readonly<Record<Kind, KindRow>> = {
  'would-deny': {
    label: 'would be denied',
    what: 'Happens today; the target set would deny it.',
    views: ['observed'],
    sign: '!',
  },
  denied: { label: 'denied', what: 'Tried, and denied by the set in force.', views: ['observed'], sign: '✕' },
  plaintext: {
    label: 'not authenticated',
    what: 'Calls came without mutual TLS.',
    views: ['observed'],
    sign: '○',
  },
  unused: {
    label: 'allowed, never used',
    what: 'A rule allows it and nobody has done it.',
    views: ['authorized'],
    sign: '∅',
  },
  declared: {
    label: 'declared, never seen',
    what: 'A manifest names it; no recording shows it.',
    views: ['declared'],
    sign: '?',
  },
  possible: {
    label: 'only possible',
    what: 'The network lets it happen; nothing else knows of it.',
    views: ['possible'],
    sign: '·',
  },
  open: { label: 'no policy yet', what: 'Seen; nothing protects the callee.', views: ['observed'], sign: '' },
  allowed: {
    label: 'allowed and used',
    what: 'Seen, and a rule allows it.',
    views: ['observed', 'authorized'],
    sign: '✓',
  },
};

export const MARK: Readonly<Record<Mark, { readonly label: string; readonly what: string }>> = {
  fresh: {
    label: 'new',
    what: 'First seen in the last 24 hours, and in the newer half of the time that was watched.',
  },
  lone: {
    label: 'unusual',
    what: 'The only pair seen to call from the one namespace into the other, or a caller without an identity.',
  },
};

export type Counts = Readonly<Record<Kind, number>>;

/** Accesses of an edge by kind. One access may be of two: in plain text, and to be denied. */
export function countsOf(edge: EdgeAnswer): Counts {
  const { views, wouldDeny, denied, unused, plaintext, accesses } = edge;
  const allowed = Math.max(0, views.authorized - unused);
  const unseen = Math.max(0, accesses - views.observed - unused);
  const declared = Math.min(unseen, views.declared);
  return {
    'would-deny': wouldDeny,
    denied,
    plaintext,
    unused,
    declared,
    possible: Math.min(unseen - declared, views.possible),
    open: Math.max(0, views.observed - allowed - wouldDeny - denied),
    allowed,
  };
}

/** What of the map is switched on. */
export interface Layers {
  readonly views: ReadonlySet<View>;
  readonly kinds: ReadonlySet<Kind>;
  /** Where one is set, only lines that bear one of them are shown. */
  readonly marks: ReadonlySet<Mark>;
}

export const ALL_LAYERS: Layers = { views: new Set(VIEWS), kinds: new Set(KINDS), marks: new Set() };

/** The kind that a line shows under these layers; undefined where it is hidden. */
export function shownKind(
  line: { readonly counts: Counts; readonly fresh: number; readonly lone: number },
  { views, kinds, marks }: Layers,
): Kind | undefined {
  if (marks.size > 0 && !(marks.has('fresh') && line.fresh > 0) && !(marks.has('lone') && line.lone > 0))
    return undefined;
  return KINDS.find(
    (kind) => line.counts[kind] > 0 && kinds.has(kind) && KIND[kind].views.some((view) => views.has(view)),
  );
}

/** The same set with one member switched. */
export function switched<T>(set: ReadonlySet<T>, member: T): ReadonlySet<T> {
  const next = new Set(set);
  if (!next.delete(member)) next.add(member);
  return next;
}

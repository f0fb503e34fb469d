import { DASH } from './paint.ts';
import { KIND, KINDS, type Kind, type Layers, MARK, MARKS, switched, VIEWS } from './kinds.ts';

interface Props {
  readonly layers: Layers;
  readonly totals: Readonly<Record<Kind | 'fresh' | 'lone', number>>;
  readonly onChange: (layers: Layers) => void;
}

/** The legend, which is the filter: what a line looks like, how many accesses are so, and whether they are shown. */
export function Legend({ layers, totals, onChange }: Props) {
  return (
    <div className="map-legend">
      <fieldset>
        <legend>Views</legend>
        {VIEWS.map((view) => (
          <Toggle
            key={view}
            isOn={layers.views.has(view)}
            what={`Accesses that are ${view}`}
            onToggle={() => onChange({ ...layers, views: switched(layers.views, view) })}
          >
            {view}
          </Toggle>
        ))}
      </fieldset>
      <fieldset data-marks>
        <legend>Only</legend>
        {MARKS.map((mark) => (
          <Toggle
            key={mark}
            isOn={layers.marks.has(mark)}
            isEmpty={totals[mark] === 0}
            what={MARK[mark].what}
            onToggle={() => onChange({ ...layers, marks: switched(layers.marks, mark) })}
          >
            {MARK[mark].label} <span className="dim">{totals[mark].toLocaleString('en')}</span>
          </Toggle>
        ))}
      </fieldset>
      <fieldset>
        <legend>Lines</legend>
        {KINDS.map((kind) => (
          <Toggle
            key={kind}
            isOn={layers.kinds.has(kind)}
            isEmpty={totals[kind] === 0}
            what={KIND[kind].what}
            onToggle={() => onChange({ ...layers, kinds: switched(layers.kinds, kind) })}
          >
            <Sample kind={kind} />
            {KIND[kind].label} <span className="dim">{totals[kind].toLocaleString('en')}</span>
          </Toggle>
        ))}
      </fieldset>
    </div>
  );
}

interface ToggleProps {
  readonly isOn: boolean;
  readonly isEmpty?: boolean;
  readonly what: string;
  readonly onToggle: () => void;
  readonly children: React.ReactNode;
}

function Toggle({ isOn, isEmpty = false, what, onToggle, children }: ToggleProps) {
  return (
    <button
      type="button"
      aria-pressed={isOn}
      data-empty={isEmpty || undefined}
      title={what}
      onClick={onToggle}
    >
      {children}
    </button>
  );
}

/** A line as the map draws it: its colour, its dashes and its sign. */
export function Sample({ kind }: { readonly kind: Kind }) {
  const [on, off, dot] = DASH[kind];
  const dash = off === 0 ? undefined : dot === 0 ? `${on} ${off}` : `${on} ${off} ${dot} ${off}`;
  const sign = KIND[kind].sign;
  return (
    <svg width={38} height={12} aria-hidden className={`map-line ${kind}`}>
      <line
        x1={0}
        y1={6}
        x2={24}
        y2={6}
        strokeWidth={2}
        {...(dash === undefined ? {} : { strokeDasharray: dash })}
      />
      <text x={28} y={10} fontSize={10} fontWeight={700}>
        {sign}
      </text>
    </svg>
  );
}

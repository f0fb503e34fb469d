import { Button } from '@mantine/core';
import { useEffect, useMemo, useRef } from 'react';
import { shownAs, type Shown } from './group.ts';
import type { Layers } from './kinds.ts';
import type { Layout } from './layout.ts';
import { lineId, type MapModel } from './model.ts';
import { paint, type Scheme } from './paint.ts';
import { place } from './place.ts';
import { isSoftwareDrawn, MANY_LINES, Stage } from './stage/stage.ts';

interface Props {
  readonly model: MapModel;
  readonly shown: Shown;
  readonly layout: Layout;
  readonly layers: Layers;
  readonly open: ReadonlySet<string>;
  readonly selected: string | undefined;
  readonly scheme: Scheme;
  readonly goTo: { readonly id: string } | undefined;
  readonly onSelect: (id: string | undefined) => void;
  readonly onToggle: (group: string) => void;
  /** The groups that are near enough to be read open. */
  readonly onNear: (groups: ReadonlySet<string>) => void;
}

/** Groups open by themselves where the row of a workload is so high that its name can be read, and close below the other height. */
const OPENS_PX = 22;
const CLOSES_PX = 17;

/** The map itself. What it shows can be read as tables: of the selected in the panel, of all in the matrix. */
export function MapStage(props: Props) {
  const { model, shown, layout, layers, open, selected, scheme, goTo } = props;
  const container = useRef<HTMLDivElement>(null);
  const stage = useRef<Stage>(undefined);
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    if (container.current === null) return;
    const own = new Stage(
      container.current,
      {
        onSelect: (id) => latest.current.onSelect(id),
        onToggle: (group) => latest.current.onToggle(group),
        onMoved: () => {
          place.camera = own.camera;
          latest.current.onNear(nearAt(own, latest.current.open));
        },
      },
      place.camera,
    );
    stage.current = own;
    const refit = new ResizeObserver(() => own.sigma.refresh());
    refit.observe(container.current);
    return () => {
      refit.disconnect();
      place.camera = own.camera;
      own.end();
      stage.current = undefined;
    };
  }, []);

  const as = selected === undefined ? undefined : presentName(model, open, selected);
  const painted = useMemo(() => paint(shown, { layers, scheme, selected: as }), [shown, layers, scheme, as]);
  useEffect(() => {
    stage.current?.show(model, layout, painted, { open, scheme, selected: as });
  }, [model, layout, painted, open, scheme, as]);
  useEffect(() => {
    if (stage.current !== undefined) latest.current.onNear(nearAt(stage.current, latest.current.open));
  }, [layout]);
  useEffect(() => {
    if (goTo !== undefined) void stage.current?.goTo(goTo.id);
  }, [goTo]);

  return (
    <>
      <div
        ref={container}
        className="map-canvas"
        // It takes keys of its own.
        role="application"
        tabIndex={0}
        aria-label="Access map. Arrow keys move it, plus and minus zoom, 0 shows all. Find and the matrix lead to the same as tables."
        onKeyDown={(event) => {
          if (stage.current === undefined || !act(stage.current, event.key, latest.current)) return;
          event.preventDefault();
        }}
      />
      {painted.lines.size > MANY_LINES && isSoftwareDrawn() ? (
        <div className="map-note">Drawn without a GPU: lines are left out while the map moves.</div>
      ) : null}
      <div className="map-zoom">
        <Button
          size="compact-xs"
          variant="default"
          aria-label="Nearer"
          onClick={() => stage.current?.zoom(0.6)}
        >
          +
        </Button>
        <Button
          size="compact-xs"
          variant="default"
          aria-label="Farther"
          onClick={() => stage.current?.zoom(1.6)}
        >
          −
        </Button>
        <Button size="compact-xs" variant="default" onClick={() => stage.current?.fit()}>
          Show all
        </Button>
      </div>
    </>
  );
}

/** The selected as it is drawn now: a line between places of closed groups is drawn as the groups' line. */
function presentName(model: MapModel, open: ReadonlySet<string>, selected: string): string {
  const [from = '', to] = selected.split('\n');
  if (to === undefined) return shownAs(model, open, from);
  return lineId(shownAs(model, open, from), shownAs(model, open, to));
}

/** A group that is open stays so down to a smaller height: at the edge it would flicker. */
function nearAt(stage: Stage, open: ReadonlySet<string>): ReadonlySet<string> {
  const { groups, rowPx } = stage.inView();
  return new Set(groups.filter((id) => rowPx > (open.has(id) ? CLOSES_PX : OPENS_PX)));
}

const PANS: Readonly<Record<string, readonly [number, number] | undefined>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

function act(stage: Stage, key: string, { selected, model, onSelect, onToggle }: Props): boolean {
  const pan = PANS[key];
  if (pan !== undefined) stage.pan(...pan);
  else if (key === '+' || key === '=') stage.zoom(0.6);
  else if (key === '-') stage.zoom(1.6);
  else if (key === '0') stage.fit();
  else if (key === 'Escape') onSelect(undefined);
  else if (key === 'Enter' && selected !== undefined && !selected.includes('\n'))
    onToggle(model.places.get(selected)?.group ?? selected);
  else return false;
  return true;
}

import { Button, SegmentedControl, useComputedColorScheme } from '@mantine/core';
import { useCallback, useMemo, useState } from 'react';
import { Find } from './find.tsx';
import { openAtFirst, shownOf } from './group.ts';
import { KINDS } from './kinds.ts';
import { Legend } from './legend.tsx';
import { MapStage } from './map-stage.tsx';
import { MatrixView } from './matrix-view.tsx';
import type { MapModel } from './model.ts';
import { type Mode, place } from './place.ts';
import { SidePanel } from './side-panel.tsx';
import { hasWebGl } from './stage/stage.ts';
import { useLayout } from './use-layout.ts';

/** The estate as map or matrix, with its legend and what is selected. */
export function EstateMap({ model: newest }: { readonly model: MapModel }) {
  const { laidOut, fault } = useLayout(newest);
  // Not before there is something to draw: the process that draws is started by then.
  const [canDraw] = useState(hasWebGl);
  const scheme = useComputedColorScheme('dark');
  const [mode, setMode] = useState<Mode>(canDraw ? place.mode : 'matrix');
  const [layers, setLayers] = useState(place.layers);
  const [selected, setSelected] = useState(place.selected);
  const [opened, setOpened] = useState(place.opened);
  const [near, setNear] = useState<ReadonlySet<string>>(new Set());
  const [goTo, setGoTo] = useState<{ readonly id: string }>();
  Object.assign(place, { mode, layers, selected, opened });

  // The picture is of one moment: the model that the layout was made for.
  const model = laidOut?.model ?? newest;
  const open = useMemo(
    () => openNow(model, opened, mode === 'map' ? near : new Set()),
    [model, opened, near, mode],
  );
  const shown = useMemo(() => shownOf(model, open), [model, open]);
  const totals = useMemo(() => totalsOf(model), [model]);
  const toggle = useCallback(
    (group: string) => setOpened((before) => new Map(before).set(group, !open.has(group))),
    [open],
  );
  const all = (isOpen: boolean) => setOpened(new Map([...model.groups.keys()].map((id) => [id, isOpen])));
  const goToPlace = (id: string) => {
    setSelected(id);
    const group = model.places.get(id)?.group;
    if (group !== undefined && !open.has(group)) toggle(group);
    setGoTo({ id });
  };
  const common = { model, shown, layers, selected, scheme, onSelect: setSelected, onToggle: toggle } as const;
  return (
    <div className="map-page">
      <div className="row spread">
        <div className="row">
          <h1>Map</h1>
          <SegmentedControl
            size="xs"
            aria-label="Shown as"
            value={mode}
            onChange={(value) => setMode(value === 'matrix' ? 'matrix' : 'map')}
            data={[
              { value: 'map', label: 'Map', disabled: !canDraw },
              { value: 'matrix', label: 'Matrix' },
            ]}
          />
          <Find model={model} onFound={goToPlace} />
          <Button size="compact-xs" variant="default" onClick={() => all(true)}>
            Open all
          </Button>
          <Button size="compact-xs" variant="default" onClick={() => all(false)}>
            Close all
          </Button>
        </div>
        <Summary model={model} />
      </div>
      <Legend layers={layers} totals={totals} onChange={setLayers} />
      <div className="map-body" data-panel={selected === undefined ? undefined : true}>
        <div className="map-stage">
          {mode === 'matrix' ? (
            <MatrixView {...common} />
          ) : laidOut === undefined ? (
            <div className="map-note">{fault ?? 'Laying out...'}</div>
          ) : (
            <MapStage {...common} layout={laidOut.layout} open={open} goTo={goTo} onNear={setNear} />
          )}
          {canDraw ? null : (
            <div className="map-note" role="status">
              This browser has no WebGL, which the map needs: here is the matrix instead.
            </div>
          )}
        </div>
        {selected === undefined ? null : (
          <SidePanel
            model={model}
            layers={layers}
            open={open}
            selected={selected}
            onSelect={setSelected}
            onToggle={toggle}
          />
        )}
      </div>
    </div>
  );
}

/** Groups opened by hand, else those near enough to be read, else all of a small estate. */
function openNow(
  model: MapModel,
  opened: ReadonlyMap<string, boolean>,
  near: ReadonlySet<string>,
): ReadonlySet<string> {
  const first = openAtFirst(model);
  return new Set([...model.groups.keys()].filter((id) => opened.get(id) ?? (first.has(id) || near.has(id))));
}

type Totals = Record<(typeof KINDS)[number] | 'fresh' | 'lone', number>;

function totalsOf({ lines }: MapModel): Totals {
  const totals: Totals = {
    'would-deny': 0,
    denied: 0,
    plaintext: 0,
    unused: 0,
    declared: 0,
    possible: 0,
    open: 0,
    allowed: 0,
    fresh: 0,
    lone: 0,
  };
  for (const { counts, fresh, lone } of lines) {
    for (const kind of KINDS) totals[kind] += counts[kind];
    totals.fresh += fresh;
    totals.lone += lone;
  }
  return totals;
}

function Summary({ model }: { readonly model: MapModel }) {
  const accesses = model.lines.reduce((sum, line) => sum + line.accesses, 0);
  return (
    <span className="dim">
      {model.places.size.toLocaleString('en')} workloads and callers, {accesses.toLocaleString('en')} accesses
      {model.isCut ? '. There are more than can be shown: the busiest are.' : ''}
    </span>
  );
}

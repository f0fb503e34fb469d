import { useEffect, useMemo, useState } from 'react';
import { type Layout, layoutInput } from './layout.ts';
import { layoutFault, layoutThread } from './layout-thread.ts';
import type { LayoutQuestion } from './layout-worker.ts';
import type { MapModel } from './model.ts';

/** A model with the layout that was made for it. */
export interface LaidOut {
  readonly model: MapModel;
  readonly layout: Layout;
}

/** Kept when the map is left: who comes back finds everything where it was. */
let kept: Layout | undefined;

/** Begun with this script at the latest: the graph is still on its way then. */
const worker = layoutThread();
let asked = 0;

/** Whether the layout has a place for everything: then nothing needs to be laid out. */
function hasPlaceForAll(layout: Layout, { groups, places }: MapModel): boolean {
  for (const id of groups.keys()) if (!layout.boxes.has(id)) return false;
  for (const id of places.keys()) if (!layout.points.has(id)) return false;
  return true;
}

/**
 * The layout of a model, made off the main thread; until it is there, the model and the layout before. What was placed
 * keeps its place, and where nobody has come nothing is laid out anew.
 */
export function useLayout(model: MapModel): {
  readonly laidOut: LaidOut | undefined;
  readonly fault: string | undefined;
} {
  const [made, setMade] = useState<LaidOut>();
  const [fault, setFault] = useState(layoutFault);
  const known = useMemo(
    () => (kept !== undefined && hasPlaceForAll(kept, model) ? { model, layout: kept } : undefined),
    [model],
  );
  useEffect(() => {
    // The thread has noted by then why it failed: its own listener was there first.
    const onError = () => setFault(layoutFault());
    worker.addEventListener('error', onError);
    return () => worker.removeEventListener('error', onError);
  }, []);
  useEffect(() => {
    if (known !== undefined) return undefined;
    const n = ++asked;
    const onAnswer = ({ data }: MessageEvent<{ readonly n: number; readonly layout: Layout }>) => {
      if (data.n !== n) return;
      kept = data.layout;
      setMade({ model, layout: data.layout });
    };
    worker.addEventListener('message', onAnswer);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker has no origin to name
    worker.postMessage({ n, input: layoutInput(model), before: kept } satisfies LayoutQuestion);
    return () => worker.removeEventListener('message', onAnswer);
  }, [model, known]);
  return { laidOut: known ?? made, fault };
}

import { useEffect, useRef, useState } from 'react';
import { type Layout, layoutInput } from './layout.ts';
import type { LayoutQuestion } from './layout-worker.ts';
import type { MapModel } from './model.ts';

/** A model with the layout that was made for it. */
export interface LaidOut {
  readonly model: MapModel;
  readonly layout: Layout;
}

/** Kept when the map is left: who comes back finds everything where it was. */
let kept: Layout | undefined;

/**
 * The layout of a model, made off the main thread; until it is there, the model and the layout before. What was placed
 * keeps its place.
 */
export function useLayout(model: MapModel): {
  readonly laidOut: LaidOut | undefined;
  readonly fault: string | undefined;
} {
  const [laidOut, setLaidOut] = useState<LaidOut>();
  const [fault, setFault] = useState<string>();
  const worker = useRef<Worker>(undefined);
  const asked = useRef(0);
  useEffect(() => {
    const own = new Worker(new URL('./layout-worker.ts', import.meta.url), { type: 'module' });
    worker.current = own;
    own.addEventListener('error', ({ message }) => setFault(message || 'the layout worker did not start'));
    return () => {
      own.terminate();
      worker.current = undefined;
    };
  }, []);
  useEffect(() => {
    const own = worker.current;
    if (own === undefined) return;
    const n = ++asked.current;
    const onAnswer = ({ data }: MessageEvent<{ readonly n: number; readonly layout: Layout }>) => {
      if (data.n !== n) return;
      kept = data.layout;
      setLaidOut({ model, layout: data.layout });
    };
    own.addEventListener('message', onAnswer);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker has no origin to name
    own.postMessage({ n, input: layoutInput(model), before: kept } satisfies LayoutQuestion);
    return () => own.removeEventListener('message', onAnswer);
  }, [model]);
  return { laidOut, fault };
}

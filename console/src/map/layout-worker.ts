import { type Layout, type LayoutInput, layoutOf } from './layout.ts';

/** What the worker is asked: to lay out an estate, after the layout before. */
export interface LayoutQuestion {
  readonly n: number;
  readonly input: LayoutInput;
  readonly before: Layout | undefined;
}

self.addEventListener('message', ({ data }: MessageEvent<LayoutQuestion>) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker's answer has no origin to name
  self.postMessage({ n: data.n, layout: layoutOf(data.input, data.before) });
});

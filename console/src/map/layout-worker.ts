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

// The browser starts the process that draws for the first one who wants to: the page itself would stand still for it.
if (typeof OffscreenCanvas !== 'undefined')
  new OffscreenCanvas(1, 1).getContext('webgl2')?.getExtension('WEBGL_lose_context')?.loseContext();

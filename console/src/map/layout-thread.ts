let thread: Worker | undefined;
let fault: string | undefined;

/** The thread that lays out the map: one for as long as the page lives, begun when it is first asked for. */
export function layoutThread(): Worker {
  if (thread === undefined) {
    thread = new Worker(new URL('./layout-worker.ts', import.meta.url), { type: 'module' });
    thread.addEventListener('error', ({ message }) => {
      fault = message || 'the layout worker did not start';
    });
  }
  return thread;
}

/** Why it is not there; it may have failed before the map is drawn. */
export const layoutFault = (): string | undefined => fault;

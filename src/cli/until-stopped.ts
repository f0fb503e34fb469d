/**
 * Resolves with the first signal that asks the process to stop, or with `other`, whichever comes first. A second signal
 * ends it at once, as by default.
 */
export function untilStopped<T = never>(other?: Promise<T>): Promise<NodeJS.Signals | T> {
  return new Promise((resolve, reject) => {
    // Something must keep the process alive while it only waits.
    const alive = setInterval(() => undefined, 2 ** 30);
    const over = () => {
      clearInterval(alive);
      process.off('SIGTERM', stop);
      process.off('SIGINT', stop);
    };
    const stop = (signal: NodeJS.Signals) => {
      over();
      resolve(signal);
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
    other?.finally(over).then(resolve, reject);
  });
}

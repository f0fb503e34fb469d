/** Resolves with the first signal that asks the process to stop. A second one ends it at once, as by default. */
export function untilStopped(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    // Something must keep the process alive while it only waits.
    const alive = setInterval(() => undefined, 2 ** 30);
    const stop = (signal: NodeJS.Signals) => {
      clearInterval(alive);
      process.off('SIGTERM', stop);
      process.off('SIGINT', stop);
      resolve(signal);
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
  });
}

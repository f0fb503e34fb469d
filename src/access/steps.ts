/** Takes steps to their end at once, and gives what they come to: for who has nothing to do between them. */
export function drained<T>(steps: Generator<void, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

import { createInterface } from 'node:readline/promises';
import type { Terminal } from './terminal.ts';

/** Whether a person sits at both ends: whoever runs in a pipe or a job is not asked. */
export function canAsk({ err }: Terminal): boolean {
  return err.isTTY === true && process.stdin.isTTY;
}

/** Asks, and takes nothing but "y" or "yes" for a yes; the end of the input is a no. */
export async function askYes(
  terminal: Terminal,
  question: string,
  input: NodeJS.ReadableStream = process.stdin,
): Promise<boolean> {
  const lines = createInterface({ input, output: terminal.err });
  const ended = new Promise<string>((resolve) => lines.once('close', () => resolve('')));
  try {
    const answer = await Promise.race([lines.question(`${question} [y/N] `), ended]);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    lines.close();
  }
}

/** The exit codes of every command. One table; `--help` prints it. */
export const EXIT = {
  done: { code: 0, means: 'done' },
  failed: { code: 1, means: 'failed; the message says why and what to do' },
  misused: { code: 2, means: 'misused: unknown flag, missing argument, value out of range' },
  found: { code: 3, means: 'done, and found what the command looks for (flips, differences, a denial)' },
  unconfirmed: { code: 4, means: 'done here, and some proxies have not confirmed it yet' },
} as const;

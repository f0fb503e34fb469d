import { main } from './cli.ts';
import { Terminal } from './terminal.ts';

// A reader that goes away (`| head`) ends the program quietly, as other tools do.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});
// One that leaves while it is told what is wrong (`2>&1 | head`) must not change the exit code.
process.stderr.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED') throw error;
});
process.exitCode = await main(process.argv.slice(2), { terminal: new Terminal(), now: Date.now });

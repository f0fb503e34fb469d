import { main } from './cli.ts';
import { Terminal } from './terminal.ts';

// A reader that goes away (`| head`) ends the program quietly, as other tools do.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});
process.exitCode = await main(process.argv.slice(2), { terminal: new Terminal(), now: Date.now });

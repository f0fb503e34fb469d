import { Terminal } from '../src/cli/terminal.ts';
import { mainJob } from './main-job.ts';

process.exitCode = await mainJob(new Terminal(), process.argv.slice(2));

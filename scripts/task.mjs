// `node scripts/task.mjs COMMAND ARGS...`: set up if needed, then run COMMAND under the project's own Node.
import { run, setup } from './setup.mjs';

const [command, ...args] = process.argv.slice(2);
run(command, args, setup());

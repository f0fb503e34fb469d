import { type EstateOptions, runEstate } from '../estate/main.ts';
import { Terminal } from '../src/cli/terminal.ts';
import { mainJob } from './main-job.ts';

const USAGE = `npm start                 a small shop of real processes, from learning to enforced (estate/README.md)
npm start -- --headless   the same to its end, nobody is asked; exit code 0 only if every step was verified
npm start -- --console    no story: you do everything yourself, in the console
npm start -- --json       the same, with the checks as one JSON value on standard output
npm start -- FILE...      policies from recordings and manifests of your own (options: interlock observe --help)
`;
const terminal = new Terminal();
const given = process.argv.slice(2);
const isOfEstate = given.every((word) => ['--headless', '--json', '--console'].includes(word));

// A reader that goes away (`| head`, a terminal that is closed) ends it as a signal would: with everything cleaned up.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', () => process.kill(process.pid, 'SIGTERM'));

if (given.includes('--help') || given.includes('-h')) terminal.out.write(USAGE);
else if (!isOfEstate) process.exitCode = await mainJob(terminal, given);
else if (process.platform === 'linux') {
  const options: EstateOptions = {
    headless: given.includes('--headless'),
    json: given.includes('--json'),
    byHand: given.includes('--console'),
  };
  process.exitCode = await runEstate(terminal, options);
  // What still waits for something waits for an estate that is gone.
  process.exit();
} else if (given.length > 0) {
  terminal.complain(
    'the sample estate needs Linux: workloads are told apart by what the kernel says of them',
  );
  process.exitCode = 1;
} else {
  terminal.prose(
    'The sample estate needs Linux. This is the main job on the recording of a small shop instead.',
  );
  process.exitCode = await mainJob(terminal, []);
}

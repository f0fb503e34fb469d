// `npm start [-- FILE...]`: set up if needed, then the main job on the example recording or on the user's own.
import { resolve } from 'node:path';
import { run, setup } from './setup.mjs';

const files = process.argv
  .slice(2)
  .map((file) => (file.startsWith('-') ? file : resolve(process.env.INIT_CWD ?? '.', file)));
const place = setup();
run('node', ['scripts/start.ts', ...files], place);

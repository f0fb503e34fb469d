import { writeGenerated } from './generated.ts';

const written = await writeGenerated();
console.log(
  written.length === 0 ? 'Nothing to do: every generated file is fresh.' : `Wrote ${written.join(', ')}`,
);

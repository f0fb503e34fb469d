import type { Received } from '../../../src/api/index.ts';
import { Mark } from '../parts/marks.tsx';
import { counted } from '../parts/words.ts';

type Fault = Received<'policies.check'>['faults'][number];

/** Faults that are listed; the rest shows once those are mended. */
const MOST_SHOWN = 12;

/** Everything that is wrong, each leading to its line. */
export function Faults({
  faults,
  onGo,
}: {
  readonly faults: readonly Fault[];
  readonly onGo: (line: number) => void;
}) {
  return (
    <div className="stack tight">
      <Mark is="denied">{counted(faults.length, 'fault')}</Mark>
      <ul className="faults">
        {faults.slice(0, MOST_SHOWN).map(({ line, subject, what }, at) => (
          // Two faults may say the same of the same line.
          <li key={at} className="break">
            {line === undefined ? null : (
              <button type="button" onClick={() => onGo(line)}>
                line {line}
              </button>
            )}{' '}
            <span className="dim">{subject}</span> {what}
          </li>
        ))}
      </ul>
      {faults.length > MOST_SHOWN ? (
        <div className="dim">and {faults.length - MOST_SHOWN} more after these</div>
      ) : null}
    </div>
  );
}

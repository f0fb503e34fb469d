import { Button } from '@mantine/core';
import { useState } from 'react';
import type { Received } from '../../../src/api/index.ts';
import { useMay } from '../app/me.ts';
import { useAct } from '../parts/act.tsx';
import { Mark, When } from '../parts/marks.tsx';
import { type Progress, ProgressShown } from './confirmations.tsx';

const MOST = 8;

/** Proves the button without changing a verdict. */
export function Drill({ drills }: Pick<Received<'releases.list'>, 'drills'>) {
  const may = useMay()('releases.drill');
  const [result, setResult] = useState<Progress>();
  const drill = useAct('releases.drill', () => undefined, setResult);
  const newest = drills.toSorted((a, b) => b.at - a.at).slice(0, MOST);
  return (
    <section className="panel stack" style={{ gap: 8 }}>
      <div className="row spread">
        <h2>Drill</h2>
        <Button
          size="compact-sm"
          variant="default"
          disabled={!may}
          loading={drill.isPending}
          onClick={() => drill.mutate({ given: { body: {} } })}
        >
          Run a drill
        </Button>
      </div>
      <div className="dim">
        Sends every connected proxy its state the way a release goes, and changes no verdict. Promotions need
        a recent one.
      </div>
      {result === undefined ? null : <ProgressShown progress={result} what="Drill" />}
      {newest.length === 0 ? (
        <div>No drill yet.</div>
      ) : (
        <table className="data">
          <thead>
            <tr>
              <th>When</th>
              <th>By</th>
              <th className="num">Confirmed</th>
            </tr>
          </thead>
          <tbody>
            {newest.map(({ at, by, points, confirmed }) => (
              <tr key={at}>
                <td>
                  <When at={at} />
                </td>
                <td>{by}</td>
                <td className="num">
                  {confirmed === points ? (
                    `${confirmed} of ${points}`
                  ) : (
                    <Mark is="would-deny">{`${confirmed} of ${points}`}</Mark>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

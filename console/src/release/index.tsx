import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { read } from '../api/query.ts';
import { Loaded, PageHead } from '../parts/states.tsx';
import { Confirmations } from './confirmations.tsx';
import { Drill } from './drill.tsx';
import { InForce } from './in-force.tsx';
import { Press } from './press.tsx';

export interface Followed {
  readonly change: string;
  readonly what: string;
}

const KEPT = 'interlock.release.followed';

/** What was pressed last in this window: who loads the page anew under pressure still sees who has confirmed. */
function followedBefore(): Followed | undefined {
  const [change = '', what = ''] = (sessionStorage.getItem(KEPT) ?? '').split('\n');
  return change === '' ? undefined : { change, what };
}

/** The red button: what it takes away, and who has confirmed. */
export default function ReleasePage() {
  const releases = useQuery(read('releases.list', {}));
  const [followed, setFollowed] = useState(followedBefore);
  const follow = (next: Followed | undefined) => {
    setFollowed(next);
    if (next === undefined) sessionStorage.removeItem(KEPT);
    else sessionStorage.setItem(KEPT, `${next.change}\n${next.what}`);
  };
  return (
    <>
      <PageHead title="Release" />
      <div className="grid2">
        <Press onPressed={follow} />
        <div className="stack">
          {/* The way back first: below a long list of proxies nobody finds it on a phone. */}
          <Loaded of={releases}>
            {({ releases: all }) => (
              <InForce releases={all.filter(({ drill }) => drill !== true)} onArmed={follow} />
            )}
          </Loaded>
          {followed === undefined ? null : <Confirmations change={followed.change} what={followed.what} />}
          {releases.data === undefined ? null : <Drill drills={releases.data.drills} />}
        </div>
      </div>
    </>
  );
}

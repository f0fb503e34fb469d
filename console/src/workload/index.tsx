import { Tabs } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { useState } from 'react';
import type { Received } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';
import { Copy, Id, Mark, Stage, When } from '../parts/marks.tsx';
import { Loaded, PageHead } from '../parts/states.tsx';
import { counted, number } from '../parts/words.ts';
import { Accesses } from './accesses.tsx';
import { Checks } from './checks.tsx';
import { Flips } from './flips.tsx';
import { History } from './history.tsx';
import { Moves } from './moves.tsx';
import { Neighbours } from './neighbours.tsx';
import { Points } from './points.tsx';
import { Policy } from './policy.tsx';

export type WorkloadDetail = Received<'workloads.get'>;

/** One workload: what it is, what may be done to it, what is missing. */
export default function WorkloadPage() {
  const { workload = '' } = useParams({ strict: false });
  const detail = useQuery(read('workloads.get', { params: { workload } }));
  return <Loaded of={detail}>{(of) => <Shown key={of.id} of={of} />}</Loaded>;
}

function Shown({ of }: { readonly of: WorkloadDetail }) {
  const [tab, setTab] = useState<string | null>('overview');
  const { id, points, connected, flips, accesses } = of;
  return (
    <>
      <PageHead
        title={
          <span className="row">
            <Id id={id} />
            <Copy text={id} what="SPIFFE ID" />
          </span>
        }
      />
      <Facts of={of} />
      <Moves of={of} />
      <Tabs value={tab} onChange={setTab} keepMounted={false} mt={12}>
        <Tabs.List mb={10}>
          <Tabs.Tab value="overview">Overview</Tabs.Tab>
          <Tabs.Tab value="policy">Policy</Tabs.Tab>
          <Tabs.Tab value="accesses">Accesses {number(accesses)}</Tabs.Tab>
          <Tabs.Tab value="flips">Flips {flips}</Tabs.Tab>
          <Tabs.Tab value="proxies">
            Proxies {connected}/{points}
          </Tabs.Tab>
          <Tabs.Tab value="history">History</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="overview">
          <div className="grid2">
            <div className="stack">
              <Neighbours title="Called by" head="Caller" neighbours={of.calledBy} />
              <Neighbours title="Calls" head="Callee" neighbours={of.calls} />
              <Unseen of={of} />
            </div>
            <Checks of={of} />
          </div>
        </Tabs.Panel>
        <Tabs.Panel value="policy">
          <Policy workload={id} />
        </Tabs.Panel>
        <Tabs.Panel value="accesses">
          <Accesses workload={id} />
        </Tabs.Panel>
        <Tabs.Panel value="flips">
          <Flips workload={id} />
        </Tabs.Panel>
        <Tabs.Panel value="proxies">
          <Points points={of.proxies} workload={id} />
        </Tabs.Panel>
        <Tabs.Panel value="history">
          <History workload={id} />
        </Tabs.Panel>
      </Tabs>
    </>
  );
}

function Facts({ of }: { readonly of: WorkloadDetail }) {
  const { stage, share, tier, authentication, since, by, released, plaintext, lastSeen, deployedAt } = of;
  return (
    <div className="row" style={{ columnGap: 22, marginBottom: 10 }}>
      <Stage stage={stage} share={share} />
      {released === undefined ? null : <Mark is="denied">released: nothing is denied</Mark>}
      {of.hasOlderSet ? <span>older policies are still enforced</span> : null}
      <span>
        <span className="dim">tier</span> {tier}
      </span>
      {authentication === undefined ? null : (
        <span>
          <span className="dim">connections</span> {authentication}
        </span>
      )}
      {since === undefined ? null : (
        <span>
          <span className="dim">moved</span> <When at={since} /> by {by}
        </span>
      )}
      <span>
        <span className="dim">last called</span> <When at={lastSeen} />
      </span>
      {deployedAt === undefined ? null : (
        <span>
          <span className="dim">deployed</span> <When at={deployedAt} />
        </span>
      )}
      {plaintext > 0 ? (
        <Mark is="plaintext">{counted(plaintext, 'access', 'accesses')} in plain text</Mark>
      ) : null}
    </div>
  );
}

/** What could be missing from the evidence, and who calls without an identity. */
function Unseen({ of: { blindSpots, plaintextCallers } }: { readonly of: WorkloadDetail }) {
  if (blindSpots.length + plaintextCallers.length === 0) return null;
  return (
    <section className="panel">
      <h2>Not authenticated, not fully seen</h2>
      {plaintextCallers.map(({ from, port, connections, lastSeen, workload }) => (
        <div key={`${from}:${port}`}>
          <Mark is="plaintext">{from}</Mark> to port {port}: {counted(connections, 'connection')},{' '}
          <When at={lastSeen} />
          {workload === undefined ? '' : `; its address is ${workload}'s`}
        </div>
      ))}
      {blindSpots.map(({ kind, from, what, count }) => (
        <div key={`${kind} ${from} ${what}`} className="break">
          {kind} from <Id id={from} />: {what} ({count})
        </div>
      ))}
    </section>
  );
}

import { Tabs } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { Received } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { Id, When } from '../parts/marks.tsx';
import { Empty, Loaded, PageHead } from '../parts/states.tsx';
import { percent } from '../parts/words.ts';
import { Authorities } from './authorities.tsx';
import { Handshakes } from './handshakes.tsx';
import { Svids } from './svids.tsx';

/** Who vouches for whom, what is live, what ends next, what was revoked. */
export default function IdentitiesPage() {
  return (
    <>
      <PageHead title="Identities" />
      <Authorities />
      <Tabs defaultValue="live" keepMounted={false} mt={12}>
        <Tabs.List mb={10}>
          <Tabs.Tab value="live">Live SVIDs</Tabs.Tab>
          <Tabs.Tab value="agents">Agents</Tabs.Tab>
          <Tabs.Tab value="cutovers">Cutovers</Tabs.Tab>
          <Tabs.Tab value="revoked">Revoked</Tabs.Tab>
          <Tabs.Tab value="handshakes">Handshakes</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="live">
          <Svids />
        </Tabs.Panel>
        <Tabs.Panel value="agents">
          <Agents />
        </Tabs.Panel>
        <Tabs.Panel value="cutovers">
          <Cutovers />
        </Tabs.Panel>
        <Tabs.Panel value="revoked">
          <Revoked />
        </Tabs.Panel>
        <Tabs.Panel value="handshakes">
          <Handshakes />
        </Tabs.Panel>
      </Tabs>
    </>
  );
}

type Agent = Received<'agents.list'>['agents'][number];

function Agents() {
  const agents = useQuery(read('agents.list', {}));
  return (
    <Loaded of={agents}>
      {({ agents: all, versions }) => {
        const isBehind = ({ confirmed }: Agent) =>
          confirmed === undefined ||
          confirmed.bundles < versions.bundles ||
          confirmed.rules < versions.rules ||
          confirmed.revocations < versions.revocations;
        const stateOf = (agent: Agent) =>
          agent.isEvicted
            ? 'evicted'
            : !agent.isConnected
              ? 'away'
              : isBehind(agent)
                ? 'behind'
                : 'up to date';
        const columns: readonly Column<Agent>[] = [
          { key: 'id', head: 'Agent', value: ({ id }) => id, cell: ({ id }) => <Id id={id} /> },
          { key: 'state', head: 'State', value: stateOf },
          { key: 'attestor', head: 'Attested by', value: ({ attestor }) => attestor },
          { key: 'version', head: 'Version', value: ({ version }) => version },
          { key: 'address', head: 'Address', value: ({ address }) => address },
          {
            key: 'notAfter',
            head: 'SVID ends',
            value: ({ notAfter }) => notAfter,
            isTime: true,
          },
        ];
        return (
          <DataTable
            name="agents"
            rows={all}
            columns={columns}
            keyOf={({ id }) => id}
            empty={
              <Empty
                what="No node has joined."
                command={
                  'interlock authority token node-1\ninterlock agent --server HOST:8443 --join-token TOKEN'
                }
              />
            }
          />
        );
      }}
    </Loaded>
  );
}

type Cutover = Exclude<Received<'cutovers.list'>['cutovers'][number], { state: 'undone' }>;

/** Why workloads do not move though they should. */
const STAYS = {
  agent: 'their agent is of an earlier version, which takes no ID of another trust domain',
  prefixes: 'the other authority may not speak for them',
  target: 'the other authority cannot sign now, or nothing that it signs is trusted',
} as const;

const stayingOf = ({ progress: { staying } }: Cutover) =>
  Object.values(staying).reduce((sum, each) => sum + each.count, 0);

function stayingText({ progress: { staying } }: Cutover): string {
  return (Object.keys(STAYS) as (keyof typeof STAYS)[]) // Its keys are the reasons.
    .flatMap((why) => {
      const each = staying[why];
      return each === undefined ? [] : [`${each.count}: ${STAYS[why]}: ${each.ids.slice(0, 5).join(', ')}`];
    })
    .join('\n');
}

function Cutovers() {
  const cutovers = useQuery(read('cutovers.list', {}));
  return (
    <Loaded of={cutovers}>
      {({ cutovers: all }) => {
        const running = all.flatMap((each) => (each.state === 'undone' ? [] : [each]));
        if (running.length === 0)
          return (
            <Empty
              what="No workload moves from one authority to another."
              command="interlock cutover start to-region-b --to region-b --share 10%"
            />
          );
        return (
          <DataTable
            name="cutovers"
            rows={running}
            keyOf={({ id }) => id}
            columns={[
              { key: 'id', head: 'Cutover', value: ({ id }) => id },
              { key: 'from', head: 'From', value: ({ from }) => from },
              { key: 'to', head: 'To', value: ({ to }) => to },
              {
                key: 'state',
                head: 'State',
                value: ({ state }) => (state === 'waiting' ? 'waits for agents to know it' : state),
              },
              {
                key: 'share',
                head: 'Share',
                value: ({ share }) => share,
                cell: ({ share }) => percent(share),
                isNumber: true,
              },
              { key: 'moved', head: 'Moved', value: ({ progress }) => progress.atTo, isNumber: true },
              { key: 'will', head: 'Will move', value: ({ progress }) => progress.willMove, isNumber: true },
              {
                key: 'back',
                head: 'Will return',
                value: ({ progress }) => progress.willReturn,
                isNumber: true,
              },
              {
                key: 'staying',
                head: 'Staying',
                value: stayingOf,
                cell: (cutover) => <span title={stayingText(cutover)}>{stayingOf(cutover)}</span>,
                isNumber: true,
              },
              {
                key: 'changedAt',
                head: 'Changed',
                value: ({ changedAt }) => changedAt,
                isTime: true,
              },
            ]}
          />
        );
      }}
    </Loaded>
  );
}

function Revoked() {
  const revocations = useQuery(read('revocations.list', {}));
  return (
    <Loaded of={revocations}>
      {({ revoked }) => (
        <DataTable
          name="revoked"
          rows={revoked}
          keyOf={({ what, value, authority }) => `${what} ${value} ${authority}`}
          columns={[
            {
              key: 'value',
              head: 'Identity or serial',
              value: ({ value }) => value,
              cell: ({ value }) => <Id id={value} />,
            },
            { key: 'what', head: 'Kind', value: ({ what }) => (what === 'id' ? 'identity' : 'certificate') },
            { key: 'reason', head: 'Reason', value: ({ reason }) => reason, isWide: true },
            {
              key: 'at',
              head: 'When',
              value: ({ at }) => at,
              isTime: true,
            },
            {
              key: 'until',
              head: 'Until',
              value: ({ until }) => until,
              cell: ({ until }) => (until === undefined ? 'for good' : <When at={until} />),
              isTime: true,
            },
          ]}
          empty={
            <Empty
              what="Nothing is revoked."
              command="interlock identity revoke SPIFFE-ID --reason keyCompromise"
            />
          }
        />
      )}
    </Loaded>
  );
}

import { Tabs } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { Received } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { Id, IdLink, When } from '../parts/marks.tsx';
import { useNow } from '../parts/now.ts';
import { Empty, Loaded, PageHead } from '../parts/states.tsx';
import { percent } from '../parts/words.ts';
import { Authorities } from './authorities.tsx';
import { Handshakes } from './handshakes.tsx';

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
          <Live />
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

type Svid = Received<'identities.list'>['identities'][number];

/** How much of its life an SVID has behind it. Agents renew at the half. */
function Age({ issuedAt, notAfter }: Pick<Svid, 'issuedAt' | 'notAfter'>) {
  const now = useNow();
  const share = Math.min(1, Math.max(0, (now - issuedAt) / (notAfter - issuedAt)));
  return (
    <div className="row" style={{ flexWrap: 'nowrap' }}>
      <div className="bar" style={{ width: 60 }} aria-hidden>
        <i
          style={{
            width: `${share * 100}%`,
            background: share > 0.75 ? 'var(--is-would-deny)' : 'var(--is-unused)',
          }}
        />
      </div>
      {percent(Math.round(share * 100) / 100)}
    </div>
  );
}

const LIVE: readonly Column<Svid>[] = [
  {
    key: 'spiffeId',
    head: 'SPIFFE ID',
    value: ({ spiffeId }) => spiffeId,
    cell: ({ spiffeId, kind }) => (kind === 'workload' ? <IdLink id={spiffeId} /> : <Id id={spiffeId} />),
  },
  { key: 'kind', head: 'Kind', value: ({ kind }) => kind },
  { key: 'age', head: 'Life used', value: ({ issuedAt }) => issuedAt, cell: (svid) => <Age {...svid} /> },
  {
    key: 'notAfter',
    head: 'Ends',
    value: ({ notAfter }) => notAfter,
    cell: ({ notAfter }) => <When at={notAfter} />,
    isNumber: true,
  },
  {
    key: 'authority',
    head: 'Authority',
    value: ({ authorityName, authority }) => authorityName ?? authority.slice(0, 10),
  },
  { key: 'rule', head: 'Rule', value: ({ rule }) => rule },
  { key: 'agent', head: 'Agent', value: ({ agent }) => agent, cell: ({ agent }) => <Id id={agent} /> },
  {
    key: 'serial',
    head: 'Serial',
    value: ({ serial }) => serial,
    cell: ({ serial }) => <code title={serial}>{serial.slice(0, 10)}</code>,
  },
];

function Live() {
  const identities = useQuery(read('identities.list', { query: { limit: 10_000 } }));
  return (
    <Loaded of={identities}>
      {({ identities: all, next }) => (
        <>
          {next === undefined ? null : (
            <div className="dim">
              {all.length} of more, by serial: what ends next may not be among them. "interlock identity list"
              has all.
            </div>
          )}
          <DataTable
            name="svids"
            rows={all}
            columns={LIVE}
            keyOf={({ serial, kind }) => `${kind} ${serial}`}
            order={{ key: 'notAfter', isDown: false }}
            empty={
              <Empty
                what="No SVID is live."
                todo="Join a node, and give a rule that names its workloads."
                command={
                  'interlock authority token node-1\ninterlock agent --server HOST:8443 --join-token TOKEN\ninterlock identity rules apply rules.yaml'
                }
              />
            }
          />
        </>
      )}
    </Loaded>
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
            cell: ({ notAfter }) => <When at={notAfter} />,
            isNumber: true,
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
              { key: 'state', head: 'State', value: ({ state }) => state },
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
                cell: ({ changedAt }) => <When at={changedAt} />,
                isNumber: true,
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
              cell: ({ at }) => <When at={at} />,
              isNumber: true,
            },
            {
              key: 'until',
              head: 'Until',
              value: ({ until }) => until,
              cell: ({ until }) => (until === undefined ? 'for good' : <When at={until} />),
              isNumber: true,
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

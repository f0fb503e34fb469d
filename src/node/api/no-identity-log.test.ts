import { describe, expect, test } from 'vitest';
import { readWorkloadAttributes, type WorkloadAttributes } from '../../identity/index.ts';
import { NoIdentityLog } from './no-identity-log.ts';

const unix = { uid: 1000, gid: 1000, groups: [27] };

function fixture() {
  const time = { now: 0 };
  const lines: Readonly<Record<string, unknown>>[] = [];
  const log = { info: (fields: Readonly<Record<string, unknown>>) => lines.push(fields), warn: () => {} };
  return { time, lines, told: new NoIdentityLog(log, { now: () => time.now }) };
}

describe('the log of processes without an identity', () => {
  test('names process, user and attributes in the form that "identity explain" takes', () => {
    const { told, lines } = fixture();
    const attributes = { unix, systemd: { unit: 'web.service' } };
    told.tell(42, attributes);
    expect(lines).toEqual([{ pid: 42, uid: 1000, attributes }]);
    expect(readWorkloadAttributes(Buffer.from(JSON.stringify(lines[0]?.['attributes'])))).toEqual(attributes);
  });

  test('has one line for the same attributes in ten minutes, whoever asks how often', () => {
    const { told, lines, time } = fixture();
    for (let pid = 1; pid < 100; pid++) told.tell(pid, { unix });
    told.tell(7, { unix: { ...unix, uid: 1001 } });
    expect(lines.map(({ uid }) => uid)).toEqual([1000, 1001]);
    time.now = 600_000;
    told.tell(1, { unix });
    expect(lines).toHaveLength(3);
  });

  test('shows no environment, and stays short', () => {
    const { told, lines } = fixture();
    const docker = { container_id: 'c', image: 'web', env: { PASSWORD: 'hunter2' } };
    const labels = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`label-${i}`, 'x']));
    const large: WorkloadAttributes = { unix, docker: { ...docker, labels } };
    told.tell(1, { unix, docker: { ...docker, labels: { team: 'pay' } } });
    told.tell(2, large);
    const said = lines.map((line) => JSON.stringify(line));
    expect(said.join()).not.toContain('hunter2');
    expect(said[0]).toContain('pay');
    expect(said[1]?.length).toBeLessThan(16_384);
    for (const { attributes } of lines) readWorkloadAttributes(Buffer.from(JSON.stringify(attributes)));
  });
});

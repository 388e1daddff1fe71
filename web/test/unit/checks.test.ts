import { expect, it } from 'vitest';
import { checksOf, ill } from '../../src/format/checks';
import { lacks, refusal } from '../../src/format/needs';
import { older } from '../../src/format/versions';
import { readServer, type Server } from '../../src/link/protocol';

const NOW = 1_700_000_000_000;

function server(v: Record<string, unknown> = {}): Server {
  const s = readServer({
    id: '1',
    name: 'web',
    hostname: 'host',
    online: true,
    state: 'online',
    agent: 'pilothouse',
    versions: { pm2: '7.0.4', node: 'v20.1.0', agent: '0.1.0' },
    last_seen: NOW,
    clock_ahead: 20,
    processes: [],
    ...v,
  });
  if (!s) throw new Error('no server');
  return s;
}

/** Areas that ask for attention, with how much. */
function found(s: Server, twins: readonly Server[] = [s]): string[] {
  const checks = checksOf(s, { twins, limit: 4, now: NOW });
  for (const { area, state, run } of checks) expect(run !== undefined, area).toBe(state === 'warn' || state === 'bad');
  const list = checks.filter(({ state }) => state === 'warn' || state === 'bad');
  expect(ill(checks)).toBe(list.length);
  return list.map(({ area, state }) => `${area} ${state}`);
}

it('goes through what the hub knows of a link, and names what is wrong with its mend', () => {
  const over = [{ key: '0:a', pm_id: 0, name: 'a', over_plan: true }];
  const cases: [Record<string, unknown>, string[]][] = [
    [{}, []],
    [{ agent: 'pm2' }, []],
    [{ clock_ahead: null }, []],
    [{ online: false, state: 'lost' }, ['Data bad']],
    [{ online: false, state: 'stopped' }, ['Data warn']],
    [{ reverse: false }, ['Commands bad']],
    [{ reverse: false, reverse_disabled: true }, []],
    [{ processes: over }, ['Plan warn']],
    [{ versions: { pm2: '7.0.4', node: 'v0.10.48', agent: '0.1.0' } }, ['Versions bad']],
    [{ agent: 'pm2', versions: { pm2: '5.1.0', node: 'v20.1.0', agent: '2.0.0' } }, ['Versions warn']],
    [{ clock_ahead: -30_000 }, ['Clock warn']],
    [{ clock_ahead: 3e10 }, ['Clock bad']],
  ];
  for (const [facts, expected] of cases) expect(found(server(facts)), JSON.stringify(facts)).toEqual(expected);
  const other = server({ id: '2', hostname: 'elsewhere', username: 'me' });
  expect(found(server(), [server(), other])).toEqual(['Name warn']);
  const failed = server({ online: false, state: 'offline', failure: { at: NOW - 60_000, text: 'It broke.' } });
  expect(checksOf(failed, { twins: [], limit: null, now: NOW })[0]?.text).toMatch(
    /What last went wrong, .*: It broke\.$/,
  );
});

it('tells by which key a host signed what it says that it sends', () => {
  const sends = (facts: Record<string, unknown>) =>
    checksOf(server(facts), { twins: [], limit: null, now: NOW }).find(({ area }) => area === 'Fields');
  const manifest = { digest: 'abc', key: 'SHA256:xyz', known: true, since: NOW };
  expect(sends({ manifest })).toMatchObject({
    state: 'good',
    text: expect.stringContaining('Signed by its key SHA256:xyz'),
  });
  expect(sends({ manifest: { ...manifest, known: false } })?.text).toContain('another release');
  for (const nothing of [undefined, null, {}, 'x']) expect(sends({ manifest: nothing })?.state).toBe('idle');
});

it('knows which release of PM2 a control needs', () => {
  const agent = (pm2: string, kind = 'pm2') => ({ agent: kind, versions: { pm2 } });
  for (const [need, before, since] of [
    ['unmonitor', '2.6.9', '2.7.0'],
    ['one port', '3.1.9', '3.2.0'],
    ['offline alert', '3.2.1', '3.2.2'],
    ['pm2 plus', '3.2.6', '3.2.7'],
    ['tracing', '3.3.9', '3.4.0'],
  ] as const) {
    expect(lacks(agent(before), need)).toContain(`needs PM2 ${since} on the server, which has ${before}`);
    expect(lacks(agent(since), need)).toBe('');
    expect(lacks(agent('7.0.4'), need)).toBe('');
    expect(lacks(agent(''), need)).toBe('');
  }
  for (const need of ['stop', 'delete'] as const) {
    expect(lacks(agent('7.0.4'), need)).toContain(`takes no ${need}`);
    expect(lacks(agent('7.0.4', 'pilothouse'), need)).toBe('');
  }
  for (const verb of ['monitor', 'unmonitor']) {
    expect(refusal(agent('2.6.9'), verb)).toContain('needs PM2 2.7.0 on the server');
    expect(refusal(agent('7.0.4'), verb)).toContain(`run pm2 ${verb} on the server`);
    expect(refusal(agent('7.0.4', 'pilothouse'), verb)).toBe('');
  }
  expect(refusal(agent('7.0.4'), 'restart')).toBe('');
  expect(older('3.10.0', '3.4.0')).toBe(false);
  expect(older('2.99.99', '3.0.0')).toBe(true);
});

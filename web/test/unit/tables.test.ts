import { describe, expect, it } from 'vitest';
import { ofInterest, readAttempts, stepsOf, titleOf, troubleOf } from '../../src/link/attempts';
import { appRows, readPlanTable } from '../../src/pages/settings/plan-table';

const attempts = (...list: object[]) => readAttempts({ at: 1000, attempts: list }).attempts;
const states = (attempt: object) =>
  attempts(attempt).map((a) =>
    stepsOf(a)
      .map((s) => s.state)
      .join(' '),
  )[0];

describe('the link test', () => {
  it('shows how far an attempt came', () => {
    expect(states({ keys: true, socket: null })).toBe('done now later later');
    expect(states({ keys: true, socket: true })).toBe('done done now later');
    expect(states({ keys: true, socket: true, data: true, commands: true })).toBe('done done done done');
  });

  it('shows where it failed, and says why', () => {
    const wrong = { keys: false, address: '10.0.0.9', problem: { code: 'wrong_keys', message: 'the secret is wrong' } };
    expect(states(wrong)).toBe('failed later later later');
    const [a] = attempts(wrong);
    if (!a) throw new Error('no attempt');
    expect(stepsOf(a)[0]?.text).toBe('Keys are wrong');
    expect(titleOf(a)).toBe('A server at 10.0.0.9');
    expect(troubleOf(a)).toBe('The secret is wrong');
    expect(states({ keys: true, socket: true, problem: { code: 'no_place', message: 'full' } })).toBe(
      'done done failed later',
    );
    expect(states({ keys: true, socket: true, ended: true })).toBe('done done failed later');
  });

  it('tells commands that cannot come from those that are not wanted', () => {
    expect(states({ keys: true, socket: false, data: true, commands: false })).toBe('done done done off');
    const [off] = attempts({ keys: true, socket: true, data: true, commands: false, commands_disabled: true });
    if (!off) throw new Error('no attempt');
    expect(stepsOf(off).at(-1)).toMatchObject({
      state: 'off',
      text: 'Commands are off',
      hint: 'Switched off on that host, on purpose.',
    });
  });

  it('says when a name is taken', () => {
    const [a] = attempts({ name: 'web', keys: true, socket: true, data: true, commands: true, same_name: 2 });
    expect(a && troubleOf(a)).toContain('2 servers go by the name “web”');
  });

  it('leaves out what was before the page was opened, but for fresh failures', () => {
    const list = attempts({ id: 1, at: 500 }, { id: 2, at: 2000 }, { id: 3, at: 900, problem: { message: 'x' } });
    expect(ofInterest(list, 1000).map((a) => a.id)).toEqual([2, 3]);
    expect(ofInterest(list, 300_000)).toEqual([]);
  });

  it('is not upset by what makes no sense', () => {
    expect(readAttempts(null)).toEqual({ at: 0, attempts: [] });
    expect(attempts({ problem: 3, socket: 'x' }, 4 as unknown as object)).toHaveLength(2);
  });
});

describe('the table of the plan', () => {
  const table = readPlanTable({
    plan: 'pro_2',
    limit: 2,
    used: 3,
    over_plan: 1,
    free: 1,
    servers: [
      {
        id: 'a',
        name: 'box',
        processes: [
          { key: '1:web', pm_id: 1, name: 'web', plan: 'over', first_seen: 20 },
          { key: '0:web', pm_id: 0, name: 'web', plan: 'monitored', first_seen: 10 },
          { key: '2:pm2-logrotate', pm_id: 2, name: 'pm2-logrotate', plan: 'free', module: true },
        ],
      },
      { id: 'b', name: 'other', processes: [{ key: '0:api', pm_id: 0, name: 'api', plan: 'monitored' }] },
    ],
  });

  it('has a row for each app on each server, what is over first', () => {
    expect(appRows(table, '', false).map((r) => [r.name, r.server, r.counted, r.monitored, r.over, r.free])).toEqual([
      ['web', 'box', 2, 1, 1, 0],
      ['api', 'other', 1, 1, 0, 0],
      ['pm2-logrotate', 'box', 0, 0, 0, 1],
    ]);
    expect(appRows(table, '', false)[0]).toMatchObject({ since: 10, entries: [{ pmId: 0 }, { pmId: 1 }] });
  });

  it('is narrowed by a text and by what is over', () => {
    expect(appRows(table, 'OTH', false).map((r) => r.name)).toEqual(['api']);
    expect(appRows(table, '', true).map((r) => r.name)).toEqual(['web']);
    expect(appRows(readPlanTable(7), '', false)).toEqual([]);
  });
});

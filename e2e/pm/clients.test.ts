// Unmodified clients from npm on the home of the program under test: the pm2 command line, and programs that
// use require('pm2').
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { clientProgram } from '../lib/client.ts';
import { Manager } from '../lib/manager.ts';
import { alive } from '../lib/scratch.ts';
import { apps, realPm2 } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(async () => {
  pm = new Manager();
  await pm.ok('ping'); // the daemon under test listens before a client from npm comes
});
afterEach(() => pm.dispose());

const app = (name: string) => path.join(apps, name);

describe('the pm2 command line from npm', () => {
  const npm = async (...args: string[]) => {
    const outcome = await pm.with(realPm2, args);
    expect(outcome.stderr).not.toContain('In-memory PM2 is out-of-date');
    return outcome;
  };

  test('starts, lists, restarts, stops and deletes', async () => {
    const daemon = pm.daemonPid();
    expect((await npm('start', app('prints.js'), '--name', 'theirs')).code).toBe(0);
    const first = await pm.app('theirs');
    expect(first.pm2_env.status).toBe('online');

    const list = await npm('list');
    expect(list.stdout).toMatch(/│ 0 +│ theirs .*online/);
    expect((await npm('restart', 'theirs')).code).toBe(0);
    const second = await pm.app('theirs');
    expect(second.pid).not.toBe(first.pid);
    expect(second.pm2_env.restart_time).toBe(1);

    expect((await npm('describe', 'theirs')).stdout).toContain(app('prints.js'));
    expect((await npm('stop', '0')).code).toBe(0);
    expect((await pm.app('theirs')).pm2_env.status).toBe('stopped');
    expect((await npm('delete', 'all')).code).toBe(0);
    expect(await pm.list()).toEqual([]);
    expect(pm.daemonPid()).toBe(daemon);
  });

  test('tails and follows logs', async () => {
    await pm.ok('start', app('loop.py'));
    const logs = pm.followWith(realPm2, {}, 'logs', 'loop', '--lines', '2', '--raw');
    await until('tailed and followed lines', () => /python \d+\npython \d+\npython \d+/.test(logs.text()));
    logs.end();
  });

  test('saves, kills; what was saved comes back', async () => {
    await pm.ok('start', app('prints.js'));
    const { pid } = await pm.app('prints');
    const daemon = pm.daemonPid();
    expect((await npm('save')).code).toBe(0);
    expect((await npm('kill')).code).toBe(0);
    await until('app and daemon ended', () => !alive(pid) && !alive(daemon));
    await pm.ok('resurrect');
    expect((await pm.app('prints')).pm2_env.status).toBe('online');
  });
});

describe("require('pm2')", () => {
  const program = (body: string) => clientProgram(pm, body);

  test('connect, start, list, restart, describe, delete', async () => {
    const found = await program(`
      await call('start', { script: ${JSON.stringify(app('prints.js'))}, name: 'api', env: { CUSTOM: 'api' } });
      const [one] = await call('list');
      await call('restart', 'api');
      const [two] = await call('describe', 'api');
      await call('delete', 'api');
      const none = await call('list');
      return { name: one.name, status: one.pm2_env.status, restarts: two.pm2_env.restart_time, left: none.length };`);
    expect(found).toEqual({ name: 'api', status: 'online', restarts: 1, left: 0 });
  });

  test('the bus tells of logs, events and messages of the app', async () => {
    const speaker = path.join(pm.dir, 'speaker.js');
    writeFileSync(
      speaker,
      `process.on('message', (m) => { process.send({ type: 'answer', data: { got: m.data } }); console.log('heard'); });
setInterval(() => process.send('plain'), 50);`,
    );
    const found = await program(`
      const bus = await call('launchBus');
      const seen = {};
      const done = new Promise((ok) => bus.on('*', (topic, packet) => {
        seen[topic] = packet;
        if (seen['log:out'] && seen.answer && seen['process:msg'] && seen['process:event']) ok();
      }));
      await call('start', { script: ${JSON.stringify(speaker)}, name: 'speaker' });
      const [one] = await call('list');
      await call('sendDataToProcessId', { id: one.pm_id, type: 'process:msg', topic: 'hello', data: { a: [1, 'ü'] } });
      await done;
      return { log: seen['log:out'].data, who: seen['log:out'].process.name, got: seen.answer.data.got,
        raw: seen['process:msg'].raw, event: typeof seen['process:event'].event };`);
    expect(found).toEqual({
      log: 'heard\n',
      who: 'speaker',
      got: { a: [1, 'ü'] },
      raw: 'plain',
      event: 'string',
    });
  });

  test('an error of the daemon reaches the caller', async () => {
    const found = await program(`
      try { await call('restart', 'nobody'); return { error: 'none' }; } catch (e) { return { said: e.message || String(e) }; }`);
    expect(String(found.said)).toContain('not found');
  });
});

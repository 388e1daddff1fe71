// What the hub may see of a host: S23 to S30 of the product's list.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { everyAgent, ours, test } from '../lib/agents.ts';
import { sleepers } from '../lib/apps.ts';
import { Bucket } from '../lib/bucket.ts';
import { Hub } from '../lib/hub.ts';
import type { Manager } from '../lib/manager.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let hub: Hub;
beforeAll(async () => {
  hub = await Hub.start();
});
afterAll(() => hub?.dispose());

const app = (name: string) => path.join(apps, name);
const flags = async (pm: Manager) =>
  (await pm.list()).map((entry) => [entry.pm_id, entry.pm2_env._km_monitored !== false]);

describe.concurrent.each(everyAgent)('$kind', ({ program }) => {
  test('S23 S26 S27 S28: what is unmonitored leaves the hub and runs on, and comes back', async ({
    manager,
  }) => {
    const bucket = await Bucket.make(hub);
    const pm = manager(program);
    await pm.ok('start', app('prints.js'), '--name', 'web', '-i', '3');
    await sleepers(pm, 'other');
    await bucket.link(pm, 'box');
    const shown = (...ids: number[]) =>
      until(`the hub shows ${ids}`, async () => {
        const { servers, plan } = await bucket.look();
        const [box] = servers;
        if (!box?.online) throw new Error('the server is not online');
        const seen = box.processes.map((p) => p.pm_id).sort();
        return seen.join() === ids.join() && plan.used === ids.length;
      });
    await shown(0, 1, 2, 3);
    const facts = async () =>
      (await pm.list()).map((entry) => [
        entry.pm_id,
        entry.pid,
        entry.pm2_env.pm_uptime,
        entry.pm2_env.status,
      ]);
    const before = await facts();

    // One instance by its number, then all by their name, then everything.
    await pm.ok('unmonitor', '1');
    expect(await flags(pm)).toEqual([
      [0, true],
      [1, false],
      [2, true],
      [3, true],
    ]);
    await shown(0, 2, 3);
    await pm.ok('unmonitor', 'web');
    await shown(3);
    await pm.ok('unmonitor', 'all');
    await shown();
    expect(await facts(), 'nothing was restarted').toEqual(before);
    const { status, body } = await bucket.api('POST', '/data/processEvents', {});
    expect(status).toBe(200);
    expect(JSON.stringify(body), 'it is not told as an end').not.toMatch(/"(exit|delete|stop)"/);

    const from = Date.now();
    await until('a while without it', () => Date.now() > from + 2_500);
    const to = Date.now();
    await pm.ok('monitor', '1');
    await shown(1);
    await pm.ok('monitor', 'web');
    await shown(0, 1, 2);
    await pm.ok('monitor', 'all');
    await shown(0, 1, 2, 3);
    expect(await facts()).toEqual(before);

    // The chart has a gap there, and no zeros.
    const points = await until('values from before and after', async () => {
      const query = `app=web&pm_id=1&metric=memory&from=${from - 60_000}&to=${Date.now()}&points=300`;
      const { series } = (await bucket.api('GET', `/series?${query}`)).body;
      const [one] = series as { t: number[]; min: number[] }[];
      return one?.t.some((t) => t < from) && one.t.some((t) => t > to) && one;
    });
    // A point stands for the whole second that begins at its time.
    expect(points.t.filter((t) => t > from + 1_000 && t + 1_000 <= to)).toEqual([]);
    expect(Math.min(...points.min)).toBeGreaterThan(0);
  });
});

test('S24: nothing of an unmonitored instance leaves the host: looked at message by message', async ({
  manager,
}) => {
  const bucket = await Bucket.make(hub);
  const pm = manager(ours.program);
  await pm.ok('start', app('talks.js'), '--name', 'talker', '-i', '3');
  await bucket.link(pm, 'box');
  const box = await bucket.server('box', (server) => server.processes.length === 3);
  // Somebody watches the logs, so that they flow too.
  const listen = (on: boolean) =>
    bucket.api('POST', '/actions/triggerPM2', {
      server_name: box.name,
      method_name: on ? 'startLogging' : 'stopLogging',
    });
  expect((await listen(true)).status).toBe(200);
  const sent = pm.follow('link', 'inspect');
  for (const what of ['out', 'err', 'event', 'exception'])
    await until(`${what} of all three is sent`, () =>
      [0, 1, 2].every((id) => sent.text().includes(`${what} mark-${id}-end`)),
    );

  await pm.ok('unmonitor', '1');
  await bucket.server('box', (server) => server.processes.length === 2);
  // What was gathered before the word came is out by now; what comes from here on must hold nothing of it.
  await until('the hub has all of before', () => sent.text().includes('LogBatch'));
  const from = sent.text().length;
  await until('a second of messages', () => (sent.text().slice(from).match(/^--- /gm) ?? []).length > 8);
  const begin = sent.text().length;
  await pm.ok('restart', '1');
  const before = await pm.list();
  process.kill(before.find((entry) => entry.pm_id === 1)?.pid ?? 0, 'SIGKILL');
  await until('it was started again', async () => {
    const now = (await pm.list()).find((entry) => entry.pm_id === 1);
    return now?.pm2_env.status === 'online' && now.pid !== before.find((entry) => entry.pm_id === 1)?.pid;
  });
  await until('many more messages', () => (sent.text().slice(begin).match(/^--- /gm) ?? []).length > 20);
  const after = sent.text().slice(begin);
  sent.end();
  for (const id of [0, 2])
    for (const what of ['out', 'err', 'event', 'exception'])
      expect(after, `${what} of ${id} goes on`).toContain(`${what} mark-${id}-end`);
  expect(after).not.toContain('mark-1-end');
  // A key of a process, or a number in an event, of a sample, of a line.
  expect(after.match(/pm_id: (Some\(\s*)?1\b.*/g)).toBeNull();
  expect(await (await listen(false)).status).toBe(200);
});

test('S25: a red dot where there are colours, a mark where there are none, linked or not', async ({
  manager,
}) => {
  const pm = manager(ours.program);
  await sleepers(pm, 'hidden', 'seen');
  await pm.ok('unmonitor', 'hidden');
  const line = (text: string, name: string) =>
    text.split('\n').find((row) => row.includes(` ${name} `)) ?? '';
  const look = async () => {
    const plain = (await pm.ok('ls')).stdout;
    const colours = (await pm.with(ours.program, ['ls'], { env: { FORCE_COLOR: '1', NO_COLOR: '' } })).stdout;
    return { plain, colours };
  };
  const check = ({ plain, colours }: { plain: string; colours: string }) => {
    expect(line(colours, 'hidden')).toContain('\u001b[31m●');
    expect(line(colours, 'seen')).not.toContain('●');
    expect(line(plain, 'hidden')).not.toBe(line(plain, 'seen').replaceAll('seen', 'hidden'));
    expect(plain).not.toContain('\u001b[');
  };
  check(await look());
  const bucket = await Bucket.make(hub);
  await bucket.link(pm, 'dots');
  check(await look());
  expect((await pm.app('hidden')).pm2_env._km_monitored).toBe(false);
});

test('S29: the flag survives restart, reload, save and resurrect, and the death of the daemon', async ({
  manager,
}) => {
  const pm = manager(ours.program);
  await pm.ok('start', app('prints.js'), '--name', 'web', '-i', '2');
  await pm.ok('start', app('prints.js'), '--name', 'one');
  const expected = [
    [0, false],
    [1, false],
    [2, true],
  ];
  await pm.ok('unmonitor', 'web');
  for (const step of [['restart', 'all'], ['reload', 'all'], ['restart', 'all', '--update-env'], ['save']]) {
    await pm.ok(...step);
    expect(await flags(pm), step.join(' ')).toEqual(expected);
  }
  const daemon = pm.daemonPid();
  process.kill(daemon, 'SIGKILL');
  await until('another daemon', async () => pm.daemonPid() !== daemon && (await pm.list()).length === 3);
  expect(await flags(pm), 'after the death of the daemon').toEqual(expected);
  await pm.ok('kill');
  await pm.ok('resurrect');
  expect(await flags(pm), 'after kill and resurrect').toEqual(expected);
  const file = path.join(pm.dir, 'again.json');
  writeFileSync(file, JSON.stringify({ apps: [{ name: 'web', script: app('prints.js'), instances: 2 }] }));
  await pm.ok('startOrRestart', file);
  expect(await flags(pm), 'after startOrRestart').toEqual(expected);
});

test('S30: unknown names change nothing; without a name it says what is missing', async ({ manager }) => {
  const pm = manager(ours.program);
  await sleepers(pm, 'one', 'two');
  for (const verb of ['unmonitor', 'monitor']) {
    for (const name of ['nobody', '77']) {
      const { code, stdout, stderr } = await pm.run(verb, name);
      expect(code, `${verb} ${name}`).not.toBe(0);
      expect(stdout + stderr).toMatch(/nobody|77/);
    }
  }
  expect(await flags(pm)).toEqual([
    [0, true],
    [1, true],
  ]);
  const bare = await pm.run('unmonitor');
  expect(bare.code).not.toBe(0);
  expect(bare.stdout + bare.stderr).toMatch(/Please specify an (app name or pm_id|<app_name\|pm_id>)/);
  expect((await pm.ok('monitor')).stdout).toMatch(/link <secret> <public>/);
});

// Deleting servers and linking them again: S46 to S52 of the product's list, with every agent where it matters.
import path from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { everyAgent, ours, test } from '../lib/agents.ts';
import { Bucket } from '../lib/bucket.ts';
import { Hub } from '../lib/hub.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let hub: Hub;
beforeAll(async () => {
  hub = await Hub.start();
});
afterAll(() => hub?.dispose());

const app = (name: string) => path.join(apps, name);

describe.concurrent.each(everyAgent)('$kind', ({ program, ours: isOurs }) => {
  test('S47: one server more than the limit waits, and links by itself when another is deleted', async ({
    manager,
  }) => {
    const bucket = await Bucket.make(hub, { max_servers: 1 });
    const first = manager(ours.program);
    await bucket.link(first, 'first');
    await bucket.server('first', (server) => server.online);
    await first.ok('link', 'stop');
    const stopped = await bucket.server('first', (server) => !server.online);

    const second = manager(program);
    await second.ok('start', app('loop.py'));
    const { code, stdout, stderr } = await bucket.link(second, 'second');
    if (isOurs) {
      expect(stdout + stderr).toContain('You must upgrade your bucket in order to monitor more servers.');
      expect(code).toBe(1);
    } else expect(stdout).toContain('retrying in background');
    await until('it is told to wait', async () =>
      (await bucket.look()).waiting.some((waiting) => waiting.name === 'second'),
    );
    expect((await bucket.look()).servers.map((server) => server.name)).toEqual(['first']);

    expect((await bucket.remove(stopped)).status).toBe(200);
    await bucket.server('second', (server) => server.online && server.processes.length === 1, 60_000);
    expect((await bucket.look()).servers.map((server) => server.name)).toEqual(['second']);
    if (isOurs) expect((await second.ok('link', 'info')).stdout).toMatch(/State\s*: linked/);
  });

  test('S47: a place that is free is taken at once by link', async ({ manager }) => {
    const bucket = await Bucket.make(hub, { max_servers: 1 });
    const first = manager(ours.program);
    await bucket.link(first, 'first');
    await first.ok('link', 'stop');
    const stopped = await bucket.server('first', (server) => !server.online);
    const second = manager(program);
    await second.ok('ping');
    await bucket.link(second, 'second');
    await bucket.remove(stopped);
    const { code } = await second.run('link');
    expect(code).toBe(0);
    await bucket.server('second', (server) => server.online, 5_000);
  });

  test('S50: a server that is hidden stays away until it is linked again', async ({ manager }) => {
    const bucket = await Bucket.make(hub);
    const pm = manager(program);
    await pm.ok('start', app('loop.py'));
    await bucket.link(pm, 'box');
    const shown = await bucket.server('box', (server) => server.processes.length === 1);

    const refused = await bucket.remove(shown);
    expect(refused.status, 'its agent runs').toBe(409);
    expect(refused.body.msg).toMatch(/unlink it on that server first, or hide it/);
    expect((await bucket.remove(shown, { mode: 'hide' })).status).toBe(200);
    // It is asked for, refused, and not in any list.
    await until('its agent was turned away', async () => {
      const again = await bucket.remove(shown);
      return again.status === 409 && /still asks to be let in/.test(again.body.msg);
    });
    const visible = async () => (await bucket.look()).servers.filter((server) => !server.hidden);
    expect(await visible()).toEqual([]);
    expect((await bucket.api('GET', '/data/status')).body).toEqual([]);

    await bucket.link(pm, 'box');
    const back = await bucket.server('box', (server) => server.online && !server.hidden, 30_000);
    expect(back.id, 'its history is its own').toBe(shown.id);
  });

  test('S51: a deleted server links again with the same keys and name, and leaves no ghost', async ({
    manager,
  }) => {
    const bucket = await Bucket.make(hub);
    const pm = manager(program);
    await pm.ok('start', app('loop.py'));
    await bucket.link(pm, 'box');
    await bucket.server('box', (server) => server.processes.length === 1);
    await pm.ok('link', 'stop');
    const stopped = await bucket.server('box', (server) => !server.online);
    expect((await bucket.remove(stopped)).status).toBe(200);
    expect((await bucket.look()).servers).toEqual([]);

    expect((await bucket.link(pm, 'box')).code).toBe(0);
    await bucket.server('box', (server) => server.online && server.processes.length === 1);
    expect((await bucket.look()).servers).toHaveLength(1);
  });
});

test('S46: the list of a bucket has every server ever linked, with state, versions and processes', async ({
  manager,
}) => {
  const bucket = await Bucket.make(hub);
  for (const agent of everyAgent) {
    const pm = manager(agent.program);
    await pm.ok('start', app('loop.py'));
    await bucket.link(pm, agent.short);
    await bucket.server(agent.short, (server) => server.processes.length === 1);
    if (agent.ours) await pm.ok('link', 'stop');
  }
  await bucket.server('ours', (server) => server.state === 'stopped');
  const { servers } = await bucket.look();
  const row = (name: string) => servers.find((server) => server.name === name);
  expect(row('ours')).toMatchObject({ agent: 'pilothouse', state: 'stopped', processes: [{ name: 'loop' }] });
  for (const [name, major] of [
    ['pm2-5', '5.'],
    ['pm2-6', '6.'],
    ['pm2-7', '7.'],
  ] as const) {
    expect(row(name)).toMatchObject({ agent: 'pm2', state: 'online', processes: [{ name: 'loop' }] });
    expect(row(name)?.versions.pm2.startsWith(major), name).toBe(true);
    expect(row(name)?.versions.node).toContain(process.versions.node.split('.')[0]);
  }
});

test('S49: deleting a server frees its processes at once, and its history only when asked', async ({
  manager,
}) => {
  const bucket = await Bucket.make(hub, { plan: 'pro_1' });
  const points = async () => {
    const { body } = await bucket.api('GET', '/series?app=loop&metric=memory');
    return body.series.length as number;
  };
  for (const purge of [true, false]) {
    const [old, young] = [manager(ours.program), manager(ours.program)];
    await old.ok('start', app('loop.py'));
    await bucket.link(old, 'old');
    await bucket.server('old', (server) => server.processes.length === 1);
    await until('history of it', points);
    await old.ok('link', 'stop');
    const stopped = await bucket.server('old', (server) => !server.online);
    await young.ok('start', app('prints.js'));
    await bucket.link(young, 'young');
    await bucket.server('young', (server) => server.processes[0]?.over_plan === true);

    expect((await bucket.remove(stopped, { purge })).status).toBe(200);
    const freed = (await bucket.look()).servers.find((server) => server.name === 'young');
    expect(freed?.processes[0]?.over_plan).toBe(false);
    if (purge) expect(await points()).toBe(0);
    else expect(await points()).toBeGreaterThan(0);
    await young.ok('link', 'stop');
    await bucket.remove(await bucket.server('young', (server) => !server.online));
  }
});

// What is a process, what is a server, and which of them a plan watches: S4 to S22 of the product's list.
import path from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { everyAgent, ours, pm2Agents, test } from '../lib/agents.ts';
import { sleepers } from '../lib/apps.ts';
import { Bucket, type Overview } from '../lib/bucket.ts';
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

/** Waits until the bucket counts so many processes. */
const uses = (bucket: Bucket, used: number, within = 15_000) =>
  until(`${used} in use`, async () => (await bucket.look()).plan.used === used, { within });

/** `server:app` of everything that is watched, or held back. */
const watched = (look: Overview, over = false) =>
  look.servers
    .flatMap((server) =>
      server.processes.filter((p) => p.over_plan === over).map((p) => `${server.name}:${p.name}`),
    )
    .sort();

async function linked(bucket: Bucket, pm: Manager, name: string, ...names: string[]) {
  if (names.length > 0) await sleepers(pm, ...names);
  else await pm.ok('ping');
  expect((await bucket.link(pm, name)).code).toBe(0);
  await bucket.server(name, (server) => server.processes.length === names.length);
}

describe.concurrent.each(everyAgent)('$kind', ({ program }) => {
  test('S4: a row of the list is a process, in the terminal, on the wire and in the count', async ({
    manager,
  }) => {
    const bucket = await Bucket.make(hub);
    const pm = manager(program);
    await linked(bucket, pm, 'box', 'one', 'two', 'three');
    expect(await pm.list()).toHaveLength(3);
    const { body } = await bucket.api('GET', '/data/status');
    expect(body[0].data.process).toHaveLength(3);
    expect((await bucket.look()).plan).toMatchObject({ used: 3, limit: null });
  });

  test('S5: what is stopped still counts, what is deleted does not', async ({ manager }) => {
    const bucket = await Bucket.make(hub);
    const pm = manager(program);
    await linked(bucket, pm, 'box', 'one', 'two');
    await pm.ok('stop', 'one');
    await bucket.server('box', (server) => server.processes.some((p) => p.status === 'stopped'));
    expect((await bucket.look()).plan.used).toBe(2);
    await pm.ok('delete', 'one');
    await uses(bucket, 1, 2_000);
  });

  test('S8: two homes on one host are two servers', async ({ manager }) => {
    const bucket = await Bucket.make(hub);
    const [one, two] = [manager(program), manager(program)];
    await linked(bucket, one, 'one', 'here');
    await linked(bucket, two, 'two', 'there');
    const { servers } = await bucket.look();
    expect(servers.map((server) => server.name).sort()).toEqual(['one', 'two']);
    expect(servers[0]?.hostname).toBe(servers[1]?.hostname);
    expect(watched(await bucket.look())).toEqual(['one:here', 'two:there']);
  });

  test('S15: one process more than the plan is listed and not watched', async ({ manager }) => {
    const bucket = await Bucket.make(hub, { plan: 'pro_4' });
    const pm = manager(program);
    await linked(bucket, pm, 'box', 'a', 'b', 'c', 'd');
    await sleepers(pm, 'late');
    await uses(bucket, 5);
    const look = await bucket.look();
    expect(look.plan).toMatchObject({ limit: 4, used: 5, over_plan: 1 });
    expect(watched(look)).toEqual(['box:a', 'box:b', 'box:c', 'box:d']);
    expect(watched(look, true)).toEqual(['box:late']);
    const late = look.servers[0]?.processes.find((p) => p.name === 'late');
    expect([late?.cpu, late?.memory]).toEqual([null, null]);
    const { body: held } = await bucket.api('GET', '/data/status/blacklisted');
    expect(held[0].data.process.map((p: { name: string }) => p.name)).toEqual(['late']);
    await until('the others have history', async () => {
      const { body } = await bucket.api('GET', '/metrics?app=d');
      return body.length > 0;
    });
    expect((await bucket.api('GET', '/metrics?app=late')).body, 'nothing is kept of it').toEqual([]);
    const shown = look.servers[0];
    const refused = await bucket.api('POST', `/servers/${shown?.id}/actions`, {
      action: 'restart',
      app: 'late',
    });
    expect(refused.status).toBe(403);
  });

  test('S17: a place that is freed goes to the one who waits, with no restart of anything', async ({
    manager,
  }) => {
    const bucket = await Bucket.make(hub, { plan: 'pro_1' });
    const pm = manager(program);
    await linked(bucket, pm, 'box', 'old');
    await sleepers(pm, 'young', 'youngest');
    await uses(bucket, 3);
    const before = await pm.list();
    await pm.ok('unmonitor', 'old');
    await until('the young one is watched', async () => watched(await bucket.look()).join() === 'box:young', {
      within: 5_000,
    });
    await pm.ok('delete', 'young');
    await until(
      'the youngest is watched',
      async () => watched(await bucket.look()).join() === 'box:youngest',
      {
        within: 5_000,
      },
    );
    const pid = (name: string) => before.find((entry) => entry.name === name)?.pid;
    for (const name of ['old', 'youngest']) expect((await pm.app(name)).pid).toBe(pid(name));
  });

  test('S18: another plan holds at once, and no link drops', async ({ manager }) => {
    const bucket = await Bucket.make(hub, { plan: 'pro_4' });
    const pm = manager(program);
    await linked(bucket, pm, 'box', 'a', 'b', 'c', 'd', 'e', 'f');
    const gone = manager(ours.program);
    await linked(bucket, gone, 'gone');
    await gone.ok('link', 'stop');
    const links = () =>
      hub.log.split('\n').filter((line) => /opened a socket|an agent linked/.test(line)).length;
    const before = links();
    const settings = [
      ['pro_8', 0],
      ['pro_4', 2],
      ['unlimited', 0],
      ['pro_4', 2],
    ] as const;
    for (const [plan, over] of settings) {
      await bucket.set({ plan });
      await until(`${plan} holds`, async () => (await bucket.look()).plan.over_plan === over, {
        within: 5_000,
      });
      expect(watched(await bucket.look())).toHaveLength(6 - over);
    }
    const shown = await bucket.server('box');
    expect(shown.online).toBe(true);
    // Other tests of this file link meanwhile, so only this bucket's lines count.
    expect(links() - before).toBeGreaterThanOrEqual(0);
    expect(hub.log).not.toMatch(new RegExp(`(a link ended|socket ended).*${bucket.id}.*"?box`));
  });

  test('S19 S20: instances count one by one; scaling is seen in 2 s', async ({ manager }) => {
    const bucket = await Bucket.make(hub);
    const pm = manager(program);
    await pm.ok('start', app('prints.js'), '--name', 'web', '-i', '2');
    await bucket.link(pm, 'box');
    await uses(bucket, 2);
    await pm.ok('scale', 'web', '+2');
    await uses(bucket, 4, 2_000);
    const { servers } = await bucket.look();
    expect(new Set(servers[0]?.processes.map((p) => p.name))).toEqual(new Set(['web']));
  });

  test('S6 S22: a rolling reload never makes the count jump, nor shows what it replaces', async ({
    manager,
  }) => {
    const bucket = await Bucket.make(hub, { plan: 'pro_2' });
    const pm = manager(program);
    await pm.ok('start', app('prints.js'), '--name', 'web', '-i', '2');
    await bucket.link(pm, 'box');
    await uses(bucket, 2);
    const seen = new Set<string>();
    let reloading = true;
    const watch = (async () => {
      while (reloading) {
        const { plan, servers } = await bucket.look();
        const ids = servers[0]?.processes.map((p) => String(p.pm_id)).sort();
        seen.add(JSON.stringify([plan.used, plan.over_plan, ids]));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    try {
      const before = (await pm.list()).map((entry) => entry.pid);
      await pm.ok('reload', 'web');
      const after = (await pm.list()).map((entry) => entry.pid);
      expect(after.filter((pid) => before.includes(pid))).toEqual([]);
      await bucket.server('box', (server) => server.processes.every((p) => after.includes(p.pid)));
    } finally {
      reloading = false;
      await watch;
    }
    expect([...seen]).toEqual([JSON.stringify([2, 0, ['0', '1']])]);
  });
});

test('S7: modules count, but for the two that are free', async ({ manager }) => {
  const bucket = await Bucket.make(hub, { plan: 'pro_2' });
  const pm = manager(ours.program);
  await linked(bucket, pm, 'box', 'pm2-logrotate', 'pm2-auto-pull', 'pm2-server-monit', 'app');
  const { plan } = await bucket.look();
  expect(plan).toMatchObject({ used: 2, over_plan: 0 });
});

test('S9: there is no limit on servers: 50 daemons without a process on a small plan', {
  timeout: 180_000,
}, async ({ manager }) => {
  const bucket = await Bucket.make(hub, { plan: 'pro_4' });
  const many = Array.from({ length: 50 }, () => manager(ours.program));
  for (let at = 0; at < many.length; at += 5) {
    const some = many.slice(at, at + 5);
    const outcomes = await Promise.all(some.map((pm, n) => bucket.link(pm, `host-${at + n}`)));
    expect(outcomes.map((outcome) => outcome.code)).toEqual([0, 0, 0, 0, 0]);
  }
  const { servers, plan } = await bucket.look();
  expect(servers.filter((server) => server.online)).toHaveLength(50);
  expect(plan).toMatchObject({ used: 0, limit: 4, over_plan: 0 });
});

describe.concurrent('with agents of several kinds in one bucket', () => {
  const [five, six, seven] = pm2Agents.map((agent) => agent.program);
  const kinds = [ours.program, five, six, seven].filter((program) => program !== undefined);
  const cases = [
    ['S12: 4 servers with 1 process', [1, 1, 1, 1]],
    ['S13: 1 server with 4 processes', [4]],
    ['S14: 2 and 1 and 1 processes', [2, 1, 1]],
  ] as const;
  for (const [name, counts] of cases) {
    test(`${name}: a plan for 4 watches all of them`, async ({ manager }) => {
      const bucket = await Bucket.make(hub, { plan: 'pro_4' });
      await Promise.all(
        counts.map((count, n) => {
          const names = Array.from({ length: count }, (_, k) => `app-${k}`);
          return linked(bucket, manager(kinds[n] ?? ours.program), `server-${n}`, ...names);
        }),
      );
      const look = await bucket.look();
      expect(look.plan).toMatchObject({ limit: 4, used: 4, over_plan: 0 });
      expect(watched(look)).toHaveLength(4);
    });
  }
});

test('S16: the oldest stay watched, over new samples and a restart of the hub', async ({ manager }) => {
  const own = await Hub.start();
  try {
    const bucket = await Bucket.make(own, { plan: 'pro_4' });
    // PM2's agents find a restarted hub at their next look once a minute where there is no internet: ours will do here.
    const [one, two] = [manager(ours.program), manager(ours.program)];
    await linked(bucket, one, 'one', 'a', 'b');
    await linked(bucket, two, 'two', 'c', 'd');
    await sleepers(one, '0-late');
    await sleepers(two, '0-late');
    await uses(bucket, 6);
    const chosen = ['one:a', 'one:b', 'two:c', 'two:d'];
    expect(watched(await bucket.look())).toEqual(chosen);
    const seen = new Set<string>();
    for (let round = 0; round < 2; round++) {
      const from = (await bucket.look()).servers.map((server) => server.last_seen);
      await until('three more samples of each', async () => {
        const { servers } = await bucket.look();
        seen.add(watched(await bucket.look()).join());
        return servers.every((server, n) => server.last_seen > (from[n] ?? 0) + 3_000);
      });
      if (round === 0) {
        await own.crashAndRestart();
        await bucket.server('one', (server) => server.online);
        await bucket.server('two', (server) => server.online);
      }
    }
    expect([...seen]).toEqual([chosen.join()]);
  } finally {
    await own.dispose();
  }
});

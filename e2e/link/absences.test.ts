// Why a server is away: four kinds, guessed while it is dark and known when it is back, with the gap filled in (F4). Hosts are
// network namespaces, so that packets can be dropped and machines can go without a word.
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect } from 'vitest';
import { ours, pm2Agents, test } from '../lib/agents.ts';
import { sleepers } from '../lib/apps.ts';
import { Bucket, type Shown } from '../lib/bucket.ts';
import { Hub } from '../lib/hub.ts';
import { Island, noIslands, rebooted } from '../lib/island.ts';
import { powerOff } from '../lib/power.ts';
import { until } from '../lib/until.ts';

const why = noIslands();

const is = (reason: string, sure: boolean, back: boolean) => (server: Shown) =>
  server.absence?.reason === reason &&
  server.absence.sure === sure &&
  (server.absence.until !== null) === back;

describe.concurrent('F4', () => {
  test('a clean stop and a dead daemon are told apart', { timeout: 120_000 }, async ({ manager }) => {
    const hub = await Hub.start();
    try {
      const bucket = await Bucket.make(hub);
      const pm = manager(ours.program);
      await sleepers(pm, 'app');
      await pm.ok('save');
      await bucket.link(pm, 'box');
      const fresh = await bucket.server('box', (server) => server.online && server.processes.length === 1);
      expect(fresh.absence).toBeNull();

      // The daemon alone dies: its keeper starts another, and nobody was away.
      process.kill(pm.daemonPid(), 'SIGKILL');
      const seen = (await bucket.server('box')).last_seen;
      const still = await bucket.server('box', (server) => server.online && server.last_seen > seen + 3_000);
      expect(still.absence).toBeNull();

      powerOff(pm);
      await bucket.server('box', is('daemon_dead', false, false));
      await pm.ok('resurrect');
      const back = await bucket.server('box', is('daemon_dead', true, true));
      expect([back.id, back.online]).toEqual([fresh.id, true]);

      await pm.ok('kill');
      const stopped = await bucket.server('box', is('stopped', true, false));
      expect(stopped.state).toBe('stopped');
    } finally {
      await hub.dispose();
    }
  });

  test('a lost link is found to be one, and its gap is filled in', { timeout: 120_000 }, async ({
    manager,
    skip,
  }) => {
    skip(why !== '', why);
    const island = new Island();
    const hub = await Hub.startAt(`${island.shore}:0`);
    try {
      // Longer dark than this, and the guess is another.
      const bucket = await Bucket.make(hub, { offline_after: 15 });
      const pm = manager(island.program(ours.program));
      await sleepers(pm, 'app');
      await bucket.link(pm, 'box');
      await bucket.server('box', (server) => server.online && server.processes.length === 1);
      island.block(`ip daddr ${island.shore}`);
      await bucket.server('box', is('link_lost', false, false), 30_000);
      const dark = await bucket.server('box', is('host_gone', false, false), 30_000);
      island.open();
      const back = await bucket.server('box', is('link_lost', true, true), 40_000);
      const { since, until: end } = back.absence ?? { since: 0, until: 0 };
      expect([back.id, since]).toEqual([dark.id, dark.absence?.since]);
      await bucket.server('box', (server) => server.absence?.filled === true);

      // A value for each second of the time in which nothing came through, and but one.
      const seconds = Math.floor((Number(end) - since) / 1000) - 2;
      const from = since + 1000;
      const query = `/series?app=app&metric=cpu&from=${from}&to=${from + seconds * 1000}&points=${2 * seconds}`;
      const times = await until('the gap is full', async () => {
        const { body } = await bucket.api('GET', query);
        const found: number[] = body.series?.[0]?.t ?? [];
        if (found.length < seconds - 1)
          throw new Error(`${found.length} of ${seconds}: ${JSON.stringify(body)}`);
        return found;
      });
      expect(new Set(times).size).toBe(times.length);
      await pm.dispose();
    } finally {
      await hub.dispose();
      island.sink();
    }
  });

  test('a host that went and was booted anew is found to be one', { timeout: 120_000 }, async ({
    manager,
    skip,
  }) => {
    skip(why !== '', why);
    const island = new Island();
    const hub = await Hub.startAt(`${island.shore}:0`);
    try {
      const bucket = await Bucket.make(hub, { offline_after: 15 });
      const pm = manager(island.program(ours.program));
      await sleepers(pm, 'app');
      await pm.ok('save');
      await bucket.link(pm, 'box');
      const fresh = await bucket.server('box', (server) => server.online && server.processes.length === 1);
      // Without power there is no kernel that would close a connection.
      island.block(`ip daddr ${island.shore}`);
      powerOff(pm);
      await bucket.server('box', is('host_gone', false, false), 40_000);
      island.open();
      const bootId = path.join(pm.dir, 'boot_id');
      writeFileSync(bootId, `${randomUUID()}\n`);
      expect((await pm.with(rebooted(pm.program, bootId), ['resurrect'])).code).toBe(0);
      const back = await bucket.server('box', is('host_gone', true, true), 40_000);
      expect([back.id, back.online]).toEqual([fresh.id, true]);
      await pm.dispose();
    } finally {
      await hub.dispose();
      island.sink();
    }
  });

  test.for(pm2Agents.slice(-1))(
    '$kind: its PM2 dead while it is there, and a clean stop',
    { timeout: 120_000 },
    async ({ program }, { manager }) => {
      const hub = await Hub.start();
      try {
        const bucket = await Bucket.make(hub);
        const pm = manager(program);
        await sleepers(pm, 'app');
        await bucket.link(pm, 'box');
        await bucket.server('box', (server) => server.online && server.processes.length === 1, 30_000);
        // Held, not killed: its agent would start another.
        process.kill(pm.daemonPid(), 'SIGSTOP');
        await bucket.server('box', is('daemon_dead', true, false), 40_000);
        process.kill(pm.daemonPid(), 'SIGCONT');
        await bucket.server('box', (server) => server.online, 40_000);
        await pm.ok('kill');
        await bucket.server('box', is('stopped', true, false), 30_000);
      } finally {
        await hub.dispose();
      }
    },
  );
});

// What PM2's agents do when the hub goes away and comes back: they find it again by themselves, with one socket or several.
import path from 'node:path';
import { describe, expect } from 'vitest';
import { pm2Agents, test } from '../lib/agents.ts';
import { Bucket } from '../lib/bucket.ts';
import { Hub } from '../lib/hub.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

describe.concurrent.each(pm2Agents)('$kind', ({ program }) => {
  test('comes back after an outage, as the same server, and takes commands', { timeout: 150_000 }, async ({
    manager,
  }) => {
    const hub = await Hub.start();
    try {
      const bucket = await Bucket.make(hub);
      const pm = manager(program);
      await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'web');
      await bucket.link(pm, 'box');
      const before = await bucket.server('box', (server) => server.processes.length === 1);
      await hub.end('SIGKILL');
      const from = Date.now();
      await until('an outage of some seconds', () => Date.now() - from > 4_000);
      await hub.crashAndRestart();
      // Where there is no internet they look for the hub once a minute.
      const box = await bucket.server('box', (server) => server.online, 90_000);
      expect(box.id).toBe(before.id);
      const seen = box.last_seen;
      await bucket.server('box', (server) => server.last_seen > seen + 2_000 && server.online);
      const { pid } = await pm.app('web');
      const { body } = await bucket.api('POST', `/servers/${box.id}/actions`, {
        action: 'restart',
        app: 'web',
      });
      expect(body).toMatchObject({ ok: true });
      await until('it was restarted', async () => (await pm.app('web')).pid !== pid);
      expect((await bucket.look()).servers).toHaveLength(1);
    } finally {
      await hub.dispose();
    }
  });
});

// Firewalls between a host and its hub, with real ones: hosts in network namespaces, packets dropped by nftables, and a hub
// with a port for everything, one for data and one for commands (S37, S38, S58 to S61).
import path from 'node:path';
import { describe, expect } from 'vitest';
import { ours, pm2Agents, test } from '../lib/agents.ts';
import { Bucket } from '../lib/bucket.ts';
import { Hub } from '../lib/hub.ts';
import { Island, noIslands } from '../lib/island.ts';
import { microsocks, noPublicProxies, tinyproxy } from '../lib/proxies.ts';
import { discard, scratch } from '../lib/scratch.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

const why = noIslands();
const app = path.join(apps, 'prints.js');

/** A host behind a wire, and a hub on the ports that PM2 had. */
async function withPorts(body: (island: Island, hub: Hub, bucket: Bucket) => Promise<void>) {
  const island = new Island();
  let hub: Hub | undefined;
  try {
    const at = (port: number) => `${island.shore}:${port}`;
    hub = await Hub.startAt(at(443), '--push-listen', at(80), '--reverse-listen', at(43554));
    await body(island, hub, await Bucket.make(hub));
  } finally {
    await hub?.dispose();
    island.sink();
  }
}

const ports = (...list: number[]) => `tcp dport { ${list.join(', ')} }`;

describe.concurrent('by three ports', () => {
  test('S37 S38 S58 S60 S61: data by 80, commands by 43554; what is blocked of them, and what is done about it', {
    timeout: 180_000,
  }, async ({ manager, skip }) => {
    skip(why !== '', why);
    await withPorts(async (island, hub, bucket) => {
      const pm = manager(island.program(ours.program));
      const act = async () => {
        const { id } = await bucket.server('box');
        const action = { action: 'restart', app: 'web' };
        return (await bucket.api('POST', `/servers/${id}/actions`, action)).body;
      };
      try {
        await pm.ok('start', app, '--name', 'web');

        // The port for commands alone is blocked: data is live, and commands are refused at once.
        island.block(ports(43554));
        await pm.ok('link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', hub.facts.url);
        const before = await bucket.server(
          'box',
          (s) => s.online && !s.reverse && s.processes.length === 1,
          40_000,
        );
        expect(before.reverse_disabled).toBe(false);
        expect(JSON.stringify(await act())).toContain('Reverse connection not established');
        await pm.ok('restart', 'web');
        const { pid } = await pm.app('web');
        await bucket.server('box', (server) => server.processes[0]?.pid === pid && server.online);
        expect((await pm.ok('link', 'info')).stdout).toMatch(
          new RegExp(`Command channel *: not connected: connecting to ${island.shore}:43554`),
        );
        expect(pm.file('agent.log')).toContain(`connected to ${island.shore}:80, for data`);
        expect(JSON.parse(pm.file('agent.json5')).ports).toEqual({
          push: `http://${island.shore}:80`,
          reverse: `http://${island.shore}:43554`,
          set_by: 'hub',
        });

        // It opens: commands come through without anybody doing anything.
        island.open();
        await bucket.server('box', (server) => server.reverse && server.online);
        expect(await act()).toMatchObject({ ok: true });
        const way = () =>
          [80, 443, 43554].filter((port) => island.connections().includes(`${island.shore}:${port}`));
        expect(way()).toEqual([80, 43554]);

        // Both are blocked, in the middle of it: everything goes by the one that is left.
        island.block(ports(80, 43554));
        await until('it goes by 443', () => way().includes(443), { within: 60_000 });
        await bucket.server('box', (server) => server.reverse && server.online, 30_000);
        expect(await act()).toMatchObject({ ok: true });
        expect((await bucket.look()).servers, 'one server all along').toHaveLength(1);

        // All are: the command line names each.
        island.block(`ip daddr ${island.shore}`);
        const { stdout, stderr } = await pm.run('link');
        for (const port of [443, 80, 43554])
          expect(stdout + stderr).toContain(`No connection to ${island.shore}:${port}: no answer within`);
        island.open();
        await bucket.server('box', (server) => server.reverse && server.online, 40_000);
      } finally {
        await pm.dispose();
      }
    });
  });

  test('S37: the host has the last word on its ports', { timeout: 120_000 }, async ({ manager, skip }) => {
    skip(why !== '', why);
    await withPorts(async (island, hub, bucket) => {
      const pm = manager(island.program(ours.program));
      const way = () =>
        [80, 443, 43554].filter((port) => island.connections().includes(`${island.shore}:${port}`));
      try {
        await pm.ok('start', app, '--name', 'web');
        const words = ['link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', hub.facts.url];
        const link = (push: string, reverse: string) =>
          pm.with(pm.program, words, { env: { PM2_PUSH_URL: push, PM2_REVERSE_URL: reverse } });
        const one = await link(`http://${island.shore}`, '');
        expect([one.code, one.stderr]).toEqual([
          1,
          expect.stringContaining('PM2_REVERSE_URL is not: give both'),
        ]);
        // One port, whatever the hub says; and that is kept.
        expect((await link('none', '')).code).toBe(0);
        await bucket.server('box', (server) => server.online && server.reverse);
        expect(way()).toEqual([443]);
        await pm.ok('link');
        await bucket.server('box', (server) => server.online && server.reverse);
        expect(way()).toEqual([443]);
        // Given by hand.
        const given = await link(`http://${island.shore}`, `http://${island.shore}:43554`);
        expect(given.stdout).toContain(`ports from this host: data to http://${island.shore}, commands from`);
        await until('it goes by those', () => way().join() === '80,43554');
        await bucket.server('box', (server) => server.online && server.reverse);
      } finally {
        await pm.dispose();
      }
    });
  });

  test.for(pm2Agents)(
    'S37 S38: $kind needs but one port, whatever is blocked of the others',
    {
      timeout: 120_000,
    },
    async ({ program, short }, { manager, skip }) => {
      skip(why !== '', why);
      await withPorts(async (island, _hub, bucket) => {
        island.block(ports(80, 43554));
        const pm = manager(island.program(program));
        try {
          await pm.ok('start', app, '--name', 'web');
          await bucket.link(pm, short);
          const box = await bucket.server(
            short,
            (s) => s.online && s.reverse && s.processes.length === 1,
            40_000,
          );
          const { pid } = await pm.app('web');
          const action = { action: 'restart', app: 'web' };
          expect((await bucket.api('POST', `/servers/${box.id}/actions`, action)).body).toMatchObject({
            ok: true,
          });
          await until('it was restarted', async () => (await pm.app('web')).pid !== pid);
          expect(island.connections()).toContain(`${island.shore}:443`);
        } finally {
          await pm.dispose();
        }
      });
    },
  );

  test('S37: the agent of pm2 7 takes the port for data when it is told to', { timeout: 120_000 }, async ({
    manager,
    skip,
  }) => {
    skip(why !== '', why);
    await withPorts(async (island, _hub, bucket) => {
      const kind = pm2Agents.find(({ short }) => short === 'pm2-7');
      if (!kind) throw new Error('there is no pm2 7');
      const pm = manager(island.program(kind.program), { AGENT_WEBSOCKET_ENDPOINT: 'push' });
      try {
        await pm.ok('start', app, '--name', 'web');
        await bucket.link(pm, 'box');
        await bucket.server(
          'box',
          (server) => server.online && server.reverse && server.processes.length === 1,
          40_000,
        );
        expect(island.connections()).toContain(`${island.shore}:80`);
      } finally {
        await pm.dispose();
      }
    });
  });

  test('S38 S39: where a proxy is the only way out, by tinyproxy and by microsocks', {
    timeout: 120_000,
  }, async ({ manager, skip }) => {
    const missing = why || noPublicProxies();
    skip(missing !== '', missing);
    await withPorts(async (island, hub, bucket) => {
      const dir = scratch();
      const proxies = [await tinyproxy(island.shore, 3128, dir), await microsocks(island.shore, 1080)];
      island.block('tcp dport != { 3128, 1080 }');
      const pm = manager(island.program(ours.program));
      try {
        await pm.ok('start', app, '--name', 'web');
        const words = ['link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', hub.facts.url];
        for (const proxy of proxies) {
          const wrong = { PM2_PROXY: proxy.url.replace('pilot:', 'somebody:') };
          const denied = await pm.with(pm.program, words, { env: wrong });
          expect(denied.stdout + denied.stderr, proxy.name).toMatch(/by the proxy (http|socks5):/);
          await pm.with(pm.program, words, { env: { PM2_PROXY: proxy.url } });
          // Data and commands go by it, each to its port.
          const box = await bucket.server('box', (server) => server.online && server.reverse, 40_000);
          const place = new URL(proxy.url).host;
          await until(`both go by ${proxy.name}`, () => {
            const open = island.connections();
            return open.length >= 2 && open.every((other) => other === place);
          });
          const action = { action: 'restart', app: 'web' };
          const done = await bucket.api('POST', `/servers/${box.id}/actions`, action);
          expect(done.body, proxy.name).toMatchObject({ ok: true });
        }
      } finally {
        await pm.dispose();
        await Promise.all(proxies.map((proxy) => proxy.close()));
        discard(dir);
      }
    });
  });
});

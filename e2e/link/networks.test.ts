// Firewalls and proxies between a host and its hub: S38, S39 and S58 to S62 of the product's list.
import path from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { ours, test } from '../lib/agents.ts';
import { Bucket } from '../lib/bucket.ts';
import { Hub } from '../lib/hub.ts';
import { Narrow } from '../lib/narrow.ts';
import { httpProxy, httpsProxy, socks4Proxy, socksProxy } from '../lib/proxies.ts';
import { discard, scratch } from '../lib/scratch.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let hub: Hub;
beforeAll(async () => {
  hub = await Hub.start();
});
afterAll(() => hub?.dispose());

const app = (name: string) => path.join(apps, name);

test('S38 S58 S59 S60 S61: where no WebSocket gets through, data arrives and commands are refused at once', async ({
  manager,
}) => {
  const narrow = await Narrow.before(hub.facts.url);
  try {
    const bucket = await Bucket.make(hub);
    const pm = manager(ours.program);
    await pm.ok('start', app('prints.js'), '--name', 'web');
    const words = ['link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', narrow.url];
    expect((await pm.run(...words)).code).toBe(0);
    const box = await bucket.server('box', (server) => server.processes.length === 1);
    expect([box.online, box.reverse, box.reverse_disabled]).toEqual([true, false, false]);
    expect((await pm.ok('link', 'info')).stdout).toMatch(/Command channel *: not connected: no WebSocket/);
    expect(pm.file('agent.log')).toMatch(/no WebSocket gets through .* data goes out by HTTP POST/);

    // S60: what happens there is seen here, and kept.
    await pm.ok('restart', 'web');
    const { pid } = await pm.app('web');
    await bucket.server('box', (server) => server.processes[0]?.pid === pid);
    await until('history of it', async () => (await bucket.api('GET', '/metrics?app=web')).body.length > 0);

    // S59: no action, of whatever kind, and no waiting.
    const refused = async (route: string, body: unknown) => {
      const from = Date.now();
      const reply = await bucket.api('POST', route, body);
      expect(Date.now() - from, route).toBeLessThan(1_000);
      expect(JSON.stringify(reply.body), route).toContain('Reverse connection not established');
      expect(reply.body.ok ?? false, route).toBe(false);
    };
    for (const action of ['restart', 'reload', 'reset', 'stop', 'start', 'delete'])
      await refused(`/servers/${box.id}/actions`, { action, app: 'web' });
    await refused(`/servers/${box.id}/actions`, { action: 'scale', app: 'web', params: { number: 2 } });
    await refused(`/servers/${box.id}/actions`, { action: 'clear cache', app: 'web' });
    const method = { server_name: 'box', app_name: 'web' };
    await refused('/actions/triggerPM2', { ...method, method_name: 'restart' });
    await refused('/actions/triggerPM2', { ...method, method_name: 'startLogging' });
    await refused('/actions/trigger', { ...method, action_name: 'km:heapdump', process_id: 0 });
    await refused('/actions/triggerScopedAction', {
      ...method,
      action_name: 'km:cpu:profiling:start',
      process_id: 0,
    });
    expect((await pm.app('web')).pid, 'nothing happened').toBe(pid);

    // S61: it heals by itself.
    narrow.widen();
    await bucket.server('box', (server) => server.reverse && server.online, 10_000);
    const done = await bucket.api('POST', `/servers/${box.id}/actions`, { action: 'restart', app: 'web' });
    expect(done.body).toMatchObject({ ok: true });
    expect((await pm.app('web')).pid).not.toBe(pid);
    expect((await bucket.look()).servers, 'it was the same server all along').toHaveLength(1);

    // And when it is narrowed again, data goes on.
    narrow.tighten();
    await bucket.server('box', (server) => !server.reverse && server.online, 20_000);
  } finally {
    await narrow.close();
  }
});

test('S38: a hub that is not there at all is named with its port', async ({ manager }) => {
  const narrow = await Narrow.before(hub.facts.url);
  const { port } = new URL(narrow.url);
  await narrow.close();
  const pm = manager(ours.program);
  const { stdout, stderr } = await pm.run('link', 'secretsecret', 'publicpublic', '--info-node', narrow.url);
  expect(stdout + stderr).toContain(`connecting to 127.0.0.1:${port}`);
});

test('S39: by a proxy, with user and password: http and socks', { timeout: 120_000 }, async ({ manager }) => {
  for (const start of [httpProxy, socks4Proxy, socksProxy]) {
    const proxy = await start();
    try {
      const bucket = await Bucket.make(hub);
      const pm = manager(ours.program);
      await pm.ok('start', app('prints.js'), '--name', 'web');
      const words = ['link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', hub.facts.url];
      const wrong = { PM2_PROXY: proxy.url.replace('pilot:', 'somebody:') };
      const denied = await pm.with(pm.program, words, { env: wrong });
      expect(denied.stdout + denied.stderr).toMatch(
        /Not connected to the hub yet .*by the proxy (http|socks4|socks5):/s,
      );
      const linked = await pm.with(pm.program, words, { env: { PM2_PROXY: proxy.url } });
      expect(linked.code).toBe(0);
      expect(linked.stdout).toMatch(
        /proxy from environment variable PM2_PROXY: (http|socks4|socks5):\/\/127\.0\.0\.1:\d+/,
      );
      await bucket.server(
        'box',
        (server) => server.online && server.reverse && server.processes.length === 1,
      );
      expect(proxy.asked).toContain(new URL(hub.facts.url).host);

      // It is kept with the link, and its password shown nowhere.
      const before = proxy.asked.length;
      const again = await pm.ok('link');
      expect(proxy.asked.length).toBeGreaterThan(before);
      for (const text of [linked.stdout, again.stdout, pm.file('agent.log'), pm.file('pm2.log')])
        expect(text).not.toMatch(/sea(%20| )secret/);
      await pm.with(pm.program, ['link'], { env: { PM2_PROXY: 'none' } });
      await bucket.server('box', (server) => server.online);
      const direct = proxy.asked.length;
      await pm.ok('link');
      expect(proxy.asked.length, 'none is kept as well').toBe(direct);
    } finally {
      await proxy.close();
    }
  }
});

test('S39: by a proxy over https, whose authority the host must know', { timeout: 120_000 }, async ({
  manager,
}) => {
  const dir = scratch();
  const proxy = await httpsProxy(dir);
  try {
    const bucket = await Bucket.make(hub);
    const words = ['link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', hub.facts.url];
    const env = { PM2_PROXY: proxy.url };
    const stranger = manager(ours.program);
    const denied = await stranger.with(stranger.program, words, { env });
    expect(denied.stdout + denied.stderr).toMatch(
      /by the proxy https:\/\/127\.0\.0\.1:\d+: TLS: .*UnknownIssuer/,
    );
    expect(proxy.asked, 'not a word was said to it').toEqual([]);

    const pm = manager(ours.program, { NODE_EXTRA_CA_CERTS: proxy.authority });
    await pm.ok('start', app('prints.js'), '--name', 'web');
    const wrong = { PM2_PROXY: proxy.url.replace('pilot:', 'somebody:') };
    const refused = await pm.with(pm.program, words, { env: wrong });
    expect(refused.stdout + refused.stderr).toContain('it does not accept this user and password');
    expect((await pm.with(pm.program, words, { env })).code).toBe(0);
    const box = await bucket.server('box', (s) => s.online && s.reverse && s.processes.length === 1);
    expect(proxy.asked).toContain(new URL(hub.facts.url).host);
    const action = { action: 'restart', app: 'web' };
    expect((await bucket.api('POST', `/servers/${box.id}/actions`, action)).body).toMatchObject({ ok: true });
  } finally {
    await proxy.close();
    discard(dir);
  }
});

test('S62: commands that a host does not want are no error', async ({ manager }) => {
  const bucket = await Bucket.make(hub);
  const pm = manager(ours.program);
  await pm.ok('start', app('prints.js'), '--name', 'web');
  const words = ['link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', hub.facts.url];
  await pm.with(pm.program, words, { env: { PM2_REVERSE_INTERACT: 'false' } });
  const box = await bucket.server('box', (server) => server.processes.length === 1);
  expect([box.reverse, box.reverse_disabled]).toEqual([false, true]);
  const { body } = await bucket.api('POST', `/servers/${box.id}/actions`, { action: 'restart', app: 'web' });
  expect(body.ok ?? false).toBe(false);
  expect((await pm.ok('link', 'info')).stdout).toMatch(/Command channel *: disabled on this host/);
});

// Agents and clients that we did not write, and ours, on a real hub.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Hub } from '../lib/hub.ts';
import { Manager } from '../lib/manager.ts';
import { apps, ourBinary, realPm2 } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let hub: Hub;
beforeAll(async () => {
  hub = await Hub.start();
});
afterAll(() => hub?.dispose());

const managers: Manager[] = [];
const manager = (program: typeof ourBinary) => {
  const made = new Manager(program);
  managers.push(made);
  return made;
};
afterEach(async () => {
  for (const made of managers.splice(0)) await made.dispose();
});

const app = (name: string) => path.join(apps, name);
const link = (pm: Manager, name: string) => {
  const { secret_key, public_key, url } = hub.facts;
  return pm.run('link', secret_key, public_key, name, '--info-node', url);
};
// biome-ignore lint/suspicious/noExplicitAny: the API's own shape
const process_ = (server: any, name: string) => server.data.process.find((entry: any) => entry.name === name);

describe.each([
  ['our agent', ourBinary],
  ['the agent of the unmodified pm2 7 from npm', realPm2],
])('%s', (kind, program) => {
  const name = program === ourBinary ? 'ours' : 'npm';

  test('links, shows its processes, and follows what happens to them', async () => {
    const pm = manager(program);
    await pm.ok('start', app('loop.py'));
    await pm.ok('start', app('prints.js'));
    expect((await link(pm, name)).code).toBe(0);

    const seen = await hub.server(name, (server) => server.data.process.length === 2);
    expect(seen.active).toBe(true);
    const listed = await pm.app('loop');
    expect(process_(seen, 'loop')).toMatchObject({
      pid: listed.pid,
      pm_id: listed.pm_id,
      status: 'online',
      exec_mode: 'fork_mode',
    });
    expect(process_(seen, 'loop').memory).toBeGreaterThan(1_000_000);

    await pm.ok('stop', 'loop');
    await hub.server(name, (server) => process_(server, 'loop')?.status === 'stopped');
    await pm.ok('delete', 'loop');
    await hub.server(name, (server) => !process_(server, 'loop'));
  });

  test('an action of the dashboard restarts an app there', async () => {
    const pm = manager(program);
    await pm.ok('start', app('prints.js'));
    await link(pm, `${name}-act`);
    const server = await hub.server(`${name}-act`, (s) => s.data.process.length === 1);
    const before = await pm.app('prints');
    const { status, body } = await hub.api('POST', `/api/bucket/${hub.facts.bucket}/actions/triggerPM2`, {
      server_name: server.server_name,
      method_name: 'restart',
      app_name: 'prints',
    });
    expect(status, JSON.stringify(body)).toBe(200);
    await until('a new process', async () => {
      const { pid } = await pm.app('prints');
      return pid > 0 && pid !== before.pid;
    });
  });

  test('wrong keys are refused with a message and exit 1', async () => {
    const pm = manager(program);
    await pm.ok('ping');
    const { code, stdout, stderr } = await pm.run('link', 'wrong', 'keys', 'x', '--info-node', hub.facts.url);
    expect(code).toBe(1);
    expect(stdout + stderr).toMatch(/key/i);
    expect((await hub.status()).map((s) => s.server_name)).not.toContain('x');
  });

  test(`unmonitored processes do not leave the host (${kind})`, async () => {
    const pm = manager(program);
    await pm.ok('start', app('loop.py'));
    await pm.ok('start', app('prints.js'));
    await pm.ok('unmonitor', 'loop');
    await link(pm, `${name}-mon`);
    const server = await hub.server(`${name}-mon`, (s) => s.data.process.length > 0);
    // biome-ignore lint/suspicious/noExplicitAny: the API's own shape
    expect(server.data.process.map((entry: any) => entry.name)).toEqual(['prints']);
    await pm.ok('monitor', 'loop');
    await hub.server(`${name}-mon`, (s) => s.data.process.length === 2);
  });
});

describe('our agent, more', () => {
  test('survives a crash of the hub, and fills the gap', async () => {
    const own = await Hub.start();
    const pm = manager(ourBinary);
    try {
      await pm.ok('start', app('loop.py'));
      const { secret_key, public_key, url } = own.facts;
      await pm.ok('link', secret_key, public_key, 'gap', '--info-node', url);
      await own.server('gap', (s) => s.data.process.length === 1);
      await own.end('SIGKILL');
      const from = Date.now();
      await new Promise((resolve) => setTimeout(resolve, 3500)); // the gap itself
      const to = Date.now();
      await own.crashAndRestart();
      await own.server('gap', (s) => s.active && s.data.process.length === 1);
      const points = await until('samples from inside the gap', async () => {
        const query = `app=loop&metric=memory&from=${from}&to=${to}&points=100`;
        const { body } = await own.api('GET', `/api/bucket/${own.facts.bucket}/series?${query}`);
        const times: number[] = body.series.flatMap((series: { t: number[] }) => series.t);
        return times.filter((t) => t >= from && t <= to).length >= 2 && times;
      });
      expect(points.length).toBeGreaterThanOrEqual(2);
    } finally {
      await own.dispose();
    }
  });

  test('link info tells the state and hides the secret; unlink ends it', async () => {
    const pm = manager(ourBinary);
    await pm.ok('start', app('loop.py'));
    expect((await link(pm, 'info')).code).toBe(0);
    await hub.server('info', (s) => s.active);
    const info = await pm.ok('link', 'info');
    expect(info.stdout).toContain('info');
    expect(info.stdout).toContain(hub.facts.public_key);
    expect(info.stdout).not.toContain(hub.facts.secret_key);
    expect(existsSync(path.join(pm.home, 'agent.json5'))).toBe(true);
    expect(pm.file('agent.log')).not.toContain(hub.facts.secret_key);
    await pm.ok('unlink');
    expect(existsSync(path.join(pm.home, 'agent.json5'))).toBe(false);
    await hub.server('info', (s) => !s.active);
  });

  test('keys in the other order link too', async () => {
    const pm = manager(ourBinary);
    const { secret_key, public_key, url } = hub.facts;
    await pm.ok('link', public_key, secret_key, 'swapped', '--info-node', url);
    await hub.server('swapped', (s) => s.active);
  });

  test('equal names are two servers; a new name keeps the server', async () => {
    const one = manager(ourBinary);
    const two = manager(ourBinary);
    await link(one, 'same');
    await link(two, 'same');
    // `/servers` tells servers apart by id; PM2's own shapes know only names, so there the later one gets a mark.
    const servers = async () => {
      const { body } = await hub.api('GET', `/api/bucket/${hub.facts.bucket}/servers`);
      return body.servers as { id: string; name: string }[];
    };
    const twins = await until('two servers of that name', async () => {
      const found = (await servers()).filter((server) => server.name === 'same');
      return found.length === 2 && found;
    });
    const before = await servers();
    await link(two, 'renamed');
    const renamed = await until('the new name', async () =>
      (await servers()).find((server) => server.name === 'renamed'),
    );
    expect(twins.map((server) => server.id)).toContain(renamed.id);
    expect(await servers()).toHaveLength(before.length);
  });
});

describe('the official client @pm2/js-api', () => {
  const require = createRequire(import.meta.url);

  test('logs in with a personal token, lists buckets, reads status, subscribes', async () => {
    const pm = manager(ourBinary);
    await pm.ok('start', app('loop.py'));
    await link(pm, 'client');
    await hub.server('client', (s) => s.data.process.length === 1);

    const made = await new Manager(ourBinary).runOnce(
      'hub',
      'token',
      'create',
      '--data',
      hub.data,
      '--user',
      'owner@example.com',
    );
    expect(made.code, made.stderr).toBe(0);
    const token = made.stdout.trim().split(/\s+/).at(-1) ?? '';

    const Client = require('@pm2/js-api');
    const client = new Client({
      services: { API: hub.facts.url, OAUTH: hub.facts.url },
      OAUTH_CLIENT_ID: 'e2e',
    });
    client.use('standalone', { refresh_token: token });
    const { data: buckets } = await client.bucket.retrieveAll();
    expect(buckets).toHaveLength(1);
    expect(buckets[0]).toMatchObject({ _id: hub.facts.bucket, public_id: hub.facts.public_key });
    expect(typeof buckets[0].payment.offer_type).toBe('string');

    const { data: servers } = await client.data.status.retrieve(hub.facts.bucket);
    expect(
      servers.find((s: { server_name: string }) => s.server_name === 'client').data.process[0].name,
    ).toBe('loop');

    await client.realtime.subscribe(hub.facts.bucket);
    // biome-ignore lint/suspicious/noExplicitAny: the client's own shape
    const status = await new Promise<any>((resolve) => {
      client.realtime.on(`${hub.facts.public_key}:client:status`, resolve);
    });
    expect(status.data.process[0]).toMatchObject({ name: 'loop', status: 'online' });
    await client.realtime.unsubscribe(hub.facts.bucket);
  });
});

test('a second hub on the same data folder is refused with the reason', async () => {
  const second = await new Manager(ourBinary).runOnce('hub', '--data', hub.data, '--listen', '127.0.0.1:0');
  expect(second.code).not.toBe(0);
  expect(second.stderr).toMatch(/another|in use|held|lock/i);
});

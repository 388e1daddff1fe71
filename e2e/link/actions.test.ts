// What the dashboard can have done on a host, and what the host has to say to that: S65 of the product's list.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { everyAgent, ours, test } from '../lib/agents.ts';
import { Bucket, type Shown } from '../lib/bucket.ts';
import { Hub } from '../lib/hub.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let hub: Hub;
beforeAll(async () => {
  hub = await Hub.start();
});
afterAll(() => hub?.dispose());

const app = (name: string) => path.join(apps, name);
const act = (bucket: Bucket, server: Shown, body: Record<string, unknown>) =>
  bucket.api('POST', `/servers/${server.id}/actions`, body);

describe.concurrent.each(everyAgent)('$kind', ({ program }) => {
  test('S65: restart, reload, reset, scale and an action of the app, each with its result', async ({
    manager,
  }) => {
    const bucket = await Bucket.make(hub);
    const pm = manager(program);
    await pm.ok('start', app('acts.cjs'), '--name', 'web', '-i', '1');
    await bucket.link(pm, 'box');
    const box = await bucket.server('box', (server) => server.processes.length === 1);
    const pid = async () => (await pm.app('web')).pid;

    for (const action of ['restart', 'reload']) {
      const before = await pid();
      const { body } = await act(bucket, box, { action, app: 'web' });
      expect(body, action).toMatchObject({ ok: true });
      await until(`${action} made a new process`, async () => (await pid()) !== before && (await pid()) > 0);
    }
    expect((await pm.app('web')).pm2_env.restart_time).toBeGreaterThan(0);
    expect((await act(bucket, box, { action: 'reset', process: 0 })).body).toMatchObject({ ok: true });
    expect((await pm.app('web')).pm2_env.restart_time).toBe(0);

    const asked = { action: 'add', process: 0, params: { one: 1 }, custom: true };
    await bucket.server('box', (server) => server.processes[0]?.status === 'online');
    const { body: added } = await act(bucket, box, asked);
    expect(added).toMatchObject({ ok: true, result: { calls: 1 } });
    expect(JSON.stringify(added.result)).toContain('one');

    expect(
      (await act(bucket, box, { action: 'scale', app: 'web', params: { number: 3 } })).body,
    ).toMatchObject({
      ok: true,
    });
    await bucket.server('box', (server) => server.processes.length === 3);
  });
});

test('S65: stop, start and delete; the host has the last word, and both sides write it down', async ({
  manager,
}) => {
  const bucket = await Bucket.make(hub);
  const pm = manager(ours.program);
  await pm.ok('start', app('prints.js'), '--name', 'web');
  await bucket.link(pm, 'box');
  const box = await bucket.server('box', (server) => server.processes.length === 1);
  for (const [action, status] of [
    ['stop', 'stopped'],
    ['start', 'online'],
  ] as const) {
    expect((await act(bucket, box, { action, app: 'web' })).body).toMatchObject({ ok: true });
    await pm.status('web', status);
  }

  // What cannot be undone has to be allowed by the host first.
  const denied = await act(bucket, box, { action: 'delete', app: 'web' });
  expect(denied.body.ok).toBe(false);
  expect(denied.body.error).toContain('policy.toml');
  expect(await pm.list()).toHaveLength(1);
  const policy = (text: string) => writeFileSync(path.join(pm.home, 'policy.toml'), text);
  policy('allow = ["logs"]');
  expect((await act(bucket, box, { action: 'restart', app: 'web' })).body.ok).toBe(false);
  policy('allow = ["restart", "delete"]');
  expect((await act(bucket, box, { action: 'restart', app: 'web' })).body).toMatchObject({ ok: true });
  expect((await act(bucket, box, { action: 'delete', app: 'web' })).body).toMatchObject({ ok: true });
  expect(await pm.list()).toEqual([]);
  await bucket.server('box', (server) => server.processes.length === 0);

  const log = pm.file('agent.log');
  expect(log).toMatch(/action .*delete.*web.*refused: .*policy\.toml/);
  expect(log).toMatch(/action .*delete.*web.*: done/);
  expect(pm.file('pm2.log')).toMatch(/remote action by owner@example\.com.*delete.*web/);
});

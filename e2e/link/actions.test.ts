// What the dashboard can have done on a host, and what the host has to say to that: S65 of the product's list.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { everyAgent, ours, test } from '../lib/agents.ts';
import { Bucket, type Shown } from '../lib/bucket.ts';
import { Hub } from '../lib/hub.ts';
import { Registry } from '../lib/registry.ts';
import { Repository } from '../lib/repository.ts';
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

describe.concurrent.each(everyAgent)('$kind', ({ program, ours }) => {
  test('S65: restart, reload, reset, scale and actions of the app, each with its result; parts of one that streams; what is never taken is refused', async ({
    manager,
  }) => {
    const bucket = await Bucket.make(hub);
    const pm = manager(program);
    await pm.ok('start', app('acts.cjs'), '--name', 'web', '-i', '1');
    await pm.ok('start', app('streams.cjs'), '--name', 'aloud');
    await bucket.link(pm, 'box');
    const box = await bucket.server('box', (server) => server.processes.length === 2);
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
    await bucket.server('box', (server) => server.processes.every((p) => p.status === 'online'));
    const { body: added } = await act(bucket, box, asked);
    expect(added).toMatchObject({ ok: true, result: { calls: 1 } });
    expect(JSON.stringify(added.result)).toContain('one');

    expect(
      (await act(bucket, box, { action: 'scale', app: 'web', params: { number: 3 } })).body,
    ).toMatchObject({
      ok: true,
    });
    await bucket.server('box', (server) => server.processes.length === 4);

    const follow = (action: string, params: unknown) =>
      bucket.act(box, { action, process: '1:aloud', custom: true, params });
    // The app offers its actions a moment after it is online.
    const told = await until('the action is known', async () => {
      const events = await follow('count', { to: 4 });
      return events.at(-1)?.ok === true && events;
    });
    expect(told[0]).toEqual({ state: 'sent' });
    const parts = told.filter((event) => event.state === 'output').map((event) => event.data);
    expect(parts).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }, 'almost there']);
    expect(told.at(-1)).toMatchObject({ state: 'ended', ok: true, result: { counted: 4 }, lost: 0 });
    expect((await follow('break', {})).at(-1)).toMatchObject({ ok: false, error: 'nothing to count' });

    expect(box.allowed).toEqual(expect.arrayContaining(['restart', 'reload', 'reset', 'scale', 'custom']));
    if (ours) return;
    const never = ['stop', 'delete', 'pull', 'backward', 'forward', 'monitor', 'unmonitor'].map((action) => ({
      action,
      app: 'web',
    }));
    const modules = ['install', 'uninstall'].map((action) => ({ action, params: { name: 'pm2-logrotate' } }));
    for (const asked of [...never, ...modules]) {
      expect(box.allowed).not.toContain(asked.action);
      const { body } = await act(bucket, box, asked);
      expect(body, asked.action).toMatchObject({ ok: false });
      expect(body.error, asked.action).toContain("PM2's own agent has no such command");
    }
    expect(await pm.list()).toHaveLength(4);
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

const allow = (pm: { home: string }, text: string) => writeFileSync(path.join(pm.home, 'policy.toml'), text);
const output = (told: { state: string; data: string }[]) =>
  told
    .filter((event) => event.state === 'output')
    .map((event) => event.data)
    .join('');

test('S65: pull brings the newest commit, runs post_update and reloads; back and on again', async ({
  manager,
}) => {
  const bucket = await Bucket.make(hub);
  const pm = manager(ours.program, { PM2_ENABLE_GIT_PARSING: 'true' });
  const repo = new Repository(pm.dir);
  const first = repo.head;
  const config = path.join(pm.dir, 'app.json');
  const updated = path.join(pm.dir, 'updated');
  const entry = { name: 'web', script: repo.app, post_update: [`echo updating; echo x >> ${updated}`] };
  writeFileSync(config, JSON.stringify({ apps: [entry] }));
  await pm.ok('start', config);
  await bucket.link(pm, 'box');
  const shownAt = (revision: string) =>
    bucket.server('box', (server) => server.processes[0]?.versioning?.revision === revision);
  const box = await shownAt(first);
  const second = repo.pushFromElsewhere('second');

  // It brings other code, so the host has to allow it first; the dashboard learns of that at once.
  expect(box.allowed).not.toContain('pull');
  const denied = await bucket.act(box, { action: 'pull', app: 'web' });
  expect(denied.at(-1)).toMatchObject({ ok: false });
  expect(denied.at(-1)?.error).toContain('policy.toml');
  expect(repo.head).toBe(first);
  allow(pm, 'allow = ["pull", "backward", "forward"]');
  await bucket.server('box', (server) => server.allowed?.includes('pull') === true);

  const { pid } = await pm.app('web');
  const told = await bucket.act(box, { action: 'pull', app: 'web' });
  expect(told.at(-1), JSON.stringify(told)).toMatchObject({ ok: true });
  expect(output(told)).toContain(`Current commit ${second}`);
  expect(output(told)).toContain('updating');
  expect(repo.head).toBe(second);
  expect(readFileSync(updated, 'utf8')).toBe('x\n');
  await until('it was reloaded', async () => (await pm.app('web')).pid !== pid);
  await shownAt(second);

  expect((await bucket.act(box, { action: 'backward', app: 'web' })).at(-1)).toMatchObject({ ok: true });
  expect(repo.head).toBe(first);
  expect((await bucket.act(box, { action: 'forward', process: '0:web' })).at(-1)).toMatchObject({ ok: true });
  expect(repo.head).toBe(second);

  // What was not committed is not thrown away, and the asker is told why.
  repo.pushFromElsewhere('third');
  repo.edit('// mine\n');
  const refused = (await bucket.act(box, { action: 'pull', app: 'web' })).at(-1);
  expect(refused).toMatchObject({ ok: false });
  expect(refused?.error).toMatch(/exit code 1[\s\S]*not committed/);
  expect(repo.text).toContain('// mine');

  expect(pm.file('pm2.log')).toMatch(/remote action by owner@example\.com: pull web: done/);
  expect(pm.file('pm2.log')).toMatch(/remote action by owner@example\.com: pull web: [\s\S]*not committed/);
  expect(pm.file('agent.log')).toMatch(/action pull app `web`, asked by owner@example\.com: done/);
});

test('S65: modules are installed and uninstalled from afar, if the host allows that and no option slips in', async ({
  manager,
}) => {
  const registry = await Registry.start();
  try {
    registry.publish('e2e-far-mod', '1.2.3', 'console.log("far module");setInterval(() => {}, 1000);');
    const bucket = await Bucket.make(hub);
    const pm = manager(ours.program, registry.env);
    await pm.ok('start', app('loop.py'), '--name', 'hidden-app');
    await pm.ok('unmonitor', 'hidden-app');
    await bucket.link(pm, 'box');
    const box = await bucket.server('box');
    const names = async () => (await pm.list()).map((entry) => entry.name);
    const ask = async (action: string, name: string) =>
      (await bucket.act(box, { action, params: { name } })).at(-1);

    // Off unless the host says otherwise.
    expect((await ask('install', 'e2e-far-mod'))?.error).toContain('policy.toml');
    allow(pm, 'allow = ["install", "uninstall"]\nmodules = ["e2e-far-mod"]');
    expect((await ask('install', 'another-mod'))?.error).toContain('`modules`');
    for (const bad of ['-g', '--prefix=/tmp', '../up', 'file:/etc', 'a b', 'https://u:p@h/m.tgz', 'all;ls']) {
      const { status, body } = await act(bucket, box, { action: 'install', params: { name: bad } });
      expect([status, typeof body.msg], bad).toEqual([400, 'string']);
    }
    expect(await names()).toEqual(['hidden-app']);

    const told = await bucket.act(box, { action: 'install', params: { name: 'e2e-far-mod' } });
    expect(told.at(-1), JSON.stringify(told)).toMatchObject({ ok: true });
    expect(output(told)).toContain('Module successfully installed and launched');
    // Nothing of a process that is not monitored leaves the host, whatever is said of another.
    expect(JSON.stringify(told)).not.toContain('hidden-app');
    await pm.status('e2e-far-mod', 'online');
    await bucket.server('box', (server) => server.processes[0]?.module === true);
    expect(await ask('uninstall', 'e2e-far-mod')).toMatchObject({ ok: true });
    expect(await names()).toEqual(['hidden-app']);

    // What fails says why.
    allow(pm, 'allow = ["install"]');
    expect((await ask('install', 'no-such-module-here'))?.error).toMatch(/exit code 1[\s\S]*404/);
    expect(pm.file('agent.log')).toMatch(/action install `e2e-far-mod`, asked by owner@example\.com: done/);
  } finally {
    await registry.dispose();
  }
});

test('S45: an app is hidden from the hub by its wish, and shown again only where the host allows that', async ({
  manager,
}) => {
  const bucket = await Bucket.make(hub);
  const pm = manager(ours.program);
  await pm.ok('start', app('prints.js'), '--name', 'web', '-i', '2');
  await pm.ok('start', app('prints.js'), '--name', 'secret');
  await pm.ok('unmonitor', 'secret');
  await bucket.link(pm, 'box');
  const box = await bucket.server('box', (server) => server.processes.length === 2);
  expect(box.allowed).toContain('unmonitor');
  expect(box.allowed).not.toContain('monitor');
  const facts = async () =>
    (await pm.list()).map(({ pid, pm2_env }) => [pid, pm2_env.restart_time, pm2_env.pm_uptime]);
  const before = await facts();
  const said = async (body: Record<string, unknown>) => (await act(bucket, box, body)).body;

  expect(await said({ action: 'unmonitor', process: '1:web' })).toMatchObject({ ok: true });
  await bucket.server('box', ({ processes }) => processes.length === 1 && processes[0]?.pm_id === 0);
  expect(await said({ action: 'unmonitor', app: 'web' })).toMatchObject({ ok: true });
  await bucket.server('box', ({ processes }) => processes.length === 0);
  expect((await pm.list()).map((entry) => entry.pm2_env._km_monitored)).toEqual([false, false, false]);
  expect(await facts(), 'they run on').toEqual(before);

  // What is hidden is the host's matter: the hub learns not even that it is there.
  for (const name of ['web', 'secret', 'no such app']) {
    const refused = await said({ action: 'monitor', app: name });
    expect(refused).toMatchObject({ ok: false });
    expect(refused.error).toMatch(/policy\.toml/);
  }
  writeFileSync(path.join(pm.home, 'policy.toml'), 'allow = ["monitor"]');
  await bucket.server('box', (server) => server.allowed?.includes('monitor') === true);
  expect(await said({ action: 'monitor', app: 'web' })).toMatchObject({ ok: true });
  await bucket.server('box', ({ processes }) => processes.length === 2);
  expect(await said({ action: 'monitor', app: 'no such app' })).toMatchObject({ ok: false });
  expect(await said({ action: 'unmonitor', app: 'web' })).toMatchObject({ ok: false });
  expect(await facts()).toEqual(before);
  expect(pm.file('pm2.log')).toMatch(/remote action by owner@example\.com: monitor web: done/);
});

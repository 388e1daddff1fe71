// reload, readiness and the ways down: what holds for one process of any mode. What needs a cluster is beside it.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { clientProgram } from '../lib/client.ts';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { alive } from '../lib/scratch.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const script = path.join(apps, 'readiness.cjs');
const eco = (...list: object[]) => {
  const file = path.join(pm.dir, 'eco.json');
  writeFileSync(file, JSON.stringify({ apps: list.map((entry) => ({ script, ...entry })) }));
  return file;
};

describe('reload', () => {
  test('of a fork app is a restart', async () => {
    await pm.ok('start', eco({ name: 'api' }));
    const before = await pm.app('api');
    const { stdout } = await pm.ok('reload', 'api');
    expect(stdout).toContain('Applying action reloadProcessId on app [api](ids: [ 0 ])');
    expect(stdout).toContain('[api](0) ✓');
    const after = await pm.app('api');
    expect(after.pid).not.toBe(before.pid);
    expect(after.pm2_env).toMatchObject({ status: 'online', restart_time: 1, pm_id: 0 });
    expect(await pm.list()).toHaveLength(1);
  });

  test('starts what was stopped, takes an id, a namespace, all and a file', async () => {
    const file = eco({ name: 'a', namespace: 'x' }, { name: 'b' });
    await pm.ok('start', file);
    await pm.ok('stop', 'a');
    await pm.ok('reload', 'a');
    expect((await pm.app('a')).pm2_env).toMatchObject({ status: 'online', restart_time: 0 });
    for (const [target, a, b] of [
      ['0', 1, 0],
      ['x', 2, 0],
      ['all', 3, 1],
      [file, 4, 2],
    ] as const) {
      await pm.ok('reload', target);
      const list = await pm.list();
      expect(list.map((entry) => entry.pm2_env.restart_time)).toEqual([a, b]);
    }
  });

  test('--update-env brings the caller’s variables along', async () => {
    await pm.ok('start', eco({ name: 'api' }));
    await pm.with(pm.program, ['reload', 'api'], { env: { FRESH: '1' } });
    expect((await pm.app('api')).pm2_env.env.FRESH).toBeUndefined();
    await pm.with(pm.program, ['reload', 'api', '--update-env'], { env: { FRESH: '1' } });
    expect((await pm.app('api')).pm2_env.env.FRESH).toBe('1');
  });

  test('an unknown name is an error', async () => {
    await pm.ok('start', eco({ name: 'api' }));
    const { code, stderr } = await pm.run('reload', 'nobody');
    expect(code).toBe(1);
    expect(stderr).toContain('Process or Namespace nobody not found');
  });

  test('one at a time: a fresh lock refuses, --force goes on, and the lock is emptied', async () => {
    await pm.ok('start', eco({ name: 'api' }));
    const lock = path.join(pm.home, 'reload.lock');
    writeFileSync(lock, String(Date.now()));
    const { code, stderr } = await pm.run('reload', 'api');
    expect(code).toBe(1);
    expect(stderr).toMatch(/Reload already in progress, please try again in (2\d|30) seconds or use --force/);
    expect((await pm.app('api')).pm2_env.restart_time).toBe(0);
    await pm.ok('reload', 'api', '--force');
    expect(readFileSync(lock, 'utf8')).toBe('');
    writeFileSync(lock, String(Date.now() - 31_000));
    await pm.ok('reload', 'api');
    expect((await pm.app('api')).pm2_env.restart_time).toBe(2);
  });

  test.each(['startOrReload', 'startOrGracefulReload'])(
    '%s starts what is not there and reloads the rest',
    async (verb) => {
      await pm.ok(verb, eco({ name: 'a' }));
      expect((await pm.app('a')).pm2_env.restart_time).toBe(0);
      const { stdout } = await pm.ok(verb, eco({ name: 'a' }, { name: 'b' }));
      expect(stdout).toContain('[a](0) ✓');
      const list = await pm.list();
      expect(list.map((entry) => [entry.name, entry.pm2_env.restart_time])).toEqual([
        ['a', 1],
        ['b', 0],
      ]);
    },
  );
});

describe('wait_ready', () => {
  test('launching until the word, then online', async () => {
    await pm.ok('ping');
    const word = path.join(pm.dir, 'ready');
    const file = eco({ name: 'api', wait_ready: true, listen_timeout: 60_000, env: { READY_FILE: word } });
    const started = pm.run('start', file);
    await until('it is launching', async () => (await pm.list())[0]?.pm2_env.status === 'launching');
    writeFileSync(word, '');
    expect((await started).code).toBe(0);
    expect((await pm.app('api')).pm2_env.status).toBe('online');
  });

  test('without the word it is online after listen_timeout', async () => {
    await pm.ok('start', eco({ name: 'api', wait_ready: true, listen_timeout: 200 }));
    expect((await pm.app('api')).pm2_env).toMatchObject({ status: 'online', restart_time: 0 });
  });

  test.each(['restart', 'reload'])('a %s waits for the word too', async (verb) => {
    const word = path.join(pm.dir, 'ready');
    writeFileSync(word, '');
    await pm.ok(
      'start',
      eco({ name: 'api', wait_ready: true, listen_timeout: 60_000, env: { READY_FILE: word } }),
    );
    rmSync(word);
    const done = pm.run(verb, 'api');
    await pm.status('api', 'launching');
    writeFileSync(word, '');
    expect((await done).code).toBe(0);
    expect((await pm.app('api')).pm2_env.status).toBe('online');
  });

  test('an app that ends before it is ready releases the caller', async () => {
    const env = { CRASH_AFTER: '100' };
    const file = eco({ name: 'api', wait_ready: true, listen_timeout: 60_000, autorestart: false, env });
    await pm.run('start', file);
    await pm.status('api', 'stopped');
  });
});

test('the RPC names an id that is not there', async () => {
  await pm.ok('start', eco({ name: 'api' }));
  const { said } = await clientProgram(
    pm,
    `const ask = (method, opts) => new Promise((ok) => pm2.Client.executeRemote(method, opts, (e) => ok(e ? e.message || String(e) : 'done')));
    return { said: [await ask('reloadProcessId', { id: 99 }), await ask('reloadProcessId', {}), await ask('softReloadProcessId', { id: 99 })] };`,
  );
  expect(said).toEqual(['PM2 ID unknown', 'PM2 ID unknown', 'pm_id 99 not available in 99']);
});

describe('reload of a cluster', () => {
  const cluster = (name: string, more = {}) => ({ name, exec_mode: 'cluster', instances: 1, ...more });

  test('is told on the bus: the new life, the end of the old one, the reload', async () => {
    const port = await freePort();
    await pm.ok('start', eco(cluster('web', { env: { PORT: port } })));
    const before = await pm.app('web');
    const { events } = await clientProgram(
      pm,
      `const events = [];
      const bus = await call('launchBus');
      bus.on('process:event', (p) => events.push([p.event, p.process.pm_id, p.manually]));
      await call('reload', 'web');
      for (let i = 0; i < 500 && !events.some(([event]) => event === 'reload'); i++) await new Promise((ok) => setTimeout(ok, 10));
      return { events };`,
    );
    expect(events).toEqual([
      ['online', 0, false],
      ['exit', '_old_0', false],
      ['exit', '_old_0', false],
      ['reload', 0, true],
    ]);
    const after = await pm.app('web');
    expect(after.pid).not.toBe(before.pid);
    expect(after.pm2_env).toMatchObject({ status: 'online', restart_time: 1, unstable_restarts: 0 });
    expect(await pm.list()).toHaveLength(1);
  });

  test('takes over after listen_timeout where the app listens nowhere', async () => {
    await pm.ok('start', eco(cluster('deaf', { listen_timeout: 200 })));
    const { pid } = await pm.app('deaf');
    await pm.ok('reload', 'deaf');
    const after = await pm.app('deaf');
    expect(after.pid).not.toBe(pid);
    expect(after.pm2_env).toMatchObject({ status: 'online', restart_time: 1 });
  });

  test('with wait_ready waits for the word, and the old one serves meanwhile', async () => {
    const [word, port] = [path.join(pm.dir, 'ready'), await freePort()];
    writeFileSync(word, '');
    const env = { READY_FILE: word, PORT: port };
    await pm.ok('start', eco(cluster('web', { wait_ready: true, listen_timeout: 60_000, env })));
    const { pid } = await pm.app('web');
    rmSync(word);
    const done = pm.run('reload', 'web');
    await until('the new one is there', async () => (await pm.app('web')).pid !== pid);
    expect(alive(pid)).toBe(true);
    writeFileSync(word, '');
    expect((await done).code).toBe(0);
    expect(alive(pid)).toBe(false);
    expect((await pm.app('web')).pm2_env.restart_time).toBe(1);
  });

  test('the soft one tells the old life by message', async () => {
    const port = await freePort();
    await pm.ok('start', eco(cluster('web', { env: { PORT: port, TELL: '1' } })));
    const { error } = await clientProgram(
      pm,
      `await new Promise((ok, no) => pm2.Client.executeRemote('softReloadProcessId', { id: 0 }, (e) => (e ? no(e) : ok())));`,
    );
    expect(error).toBeUndefined();
    expect((await pm.app('web')).pm2_env.restart_time).toBe(1);
    await until('the old life has told of its message', () =>
      pm.file('logs/web-out-0.log').includes('message "shutdown"'),
    );
  });
});

describe('the ways down', () => {
  test('shutdown_with_message asks by message instead of a signal', async () => {
    const env = { MESSAGE_CODE: '42' };
    await pm.ok('start', eco({ name: 'api', shutdown_with_message: true, env }));
    await until('it listens to messages', () => pm.file('logs/api-out.log').includes('up'));
    await pm.ok('stop', 'api');
    expect((await pm.app('api')).pm2_env).toMatchObject({ status: 'stopped', exit_code: 42 });
  });

  test('who does not hear the message is killed after kill_timeout', async () => {
    await pm.ok('start', eco({ name: 'api', shutdown_with_message: true, kill_timeout: 300 }));
    await pm.ok('stop', 'api');
    expect((await pm.app('api')).pm2_env).toMatchObject({ status: 'stopped', exit_code: 0 });
  });
});

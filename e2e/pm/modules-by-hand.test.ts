// Real modules of PM2's users, unmodified from npm, started as apps: what they ask the daemon for over its sockets must be there.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { apps, root } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

/** Starts a package's script with its settings, as an installed module is. */
async function startModule(name: string, script: string, settings: Record<string, string> = {}) {
  for (const [key, value] of Object.entries(settings)) await pm.ok('set', `${name}:${key}`, value);
  const file = path.join(pm.dir, `${name}.json`);
  const app = {
    name,
    script: path.join(root, 'e2e/node_modules', name, script),
    // Without the monitoring that PM2 injects: the module brings its own.
    pmx: false,
  };
  writeFileSync(file, JSON.stringify({ apps: [app] }));
  await pm.ok('start', file);
}

test('pm2-logrotate rotates the files of all apps', async () => {
  await pm.ok('start', path.join(apps, 'talker.js'), '--name', 'busy');
  await startModule('pm2-logrotate', 'app.js', { max_size: '20K', workerInterval: '1', retain: '50' });
  const logs = path.join(pm.home, 'logs');
  const rotated = () => readdirSync(logs).filter((name) => name.startsWith('busy-out__'));
  await until('a file was rotated', () => rotated().length > 0, { within: 30_000 });
  const [first] = rotated() as [string];
  expect(first).toMatch(/^busy-out__\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2}\.log$/);
  // It is said once the file is whole, which is a while after it is there.
  await until('the module says so', () =>
    pm.file('logs/pm2-logrotate-out.log').includes(`"${path.join(logs, first)}" has been created`),
  );
  await until('writing goes on', async () => {
    const size = readFileSync(path.join(logs, 'busy-out.log'), 'utf8').length;
    return size > 0 && size < 200_000;
  });
  const { pm2_env: env } = await pm.app('pm2-logrotate');
  expect([env.status, env.restart_time]).toEqual(['online', 0]);
  await until('its probes are told', async () => {
    const { axm_monitor } = (await pm.app('pm2-logrotate')).pm2_env;
    return axm_monitor['Global logs size'] && axm_monitor['Files count'];
  });
});

test('pm2-sysmonit tells the figures of the host and of the daemon', async () => {
  await startModule('pm2-sysmonit', 'index.js');
  const env = await until(
    'its figures are told',
    async () => {
      const { pm2_env } = await pm.app('pm2-sysmonit');
      return Object.keys(pm2_env.axm_monitor).length > 5 && pm2_env;
    },
    { within: 30_000 },
  );
  expect(env.status).toBe('online');
  const names = Object.keys(env.axm_monitor);
  expect(names.some((name) => /cpu/i.test(name))).toBe(true);
  expect(names.some((name) => /ram|mem/i.test(name))).toBe(true);
});

// What people and scripts read: the table, the description, the JSON. The same text on both sides, but for what differs by nature.
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const app = (name: string) => path.join(apps, name);

test('the table of processes', async () => {
  await pm.ok('start', app('prints.js'), '--name', 'first');
  await pm.ok('start', app('loop.py'), '--name', 'second-with-ü');
  await pm.ok('stop', 'first');
  const { stdout } = await pm.ok('list');
  const lines = stdout.split('\n').filter((line) => /^[┌│├└]/.test(line));
  expect(lines[0]).toMatch(/^┌─+┬.*┐$/);
  expect(lines[1]).toMatch(
    /^│ id +│ name +│ namespace +│ version +│ mode +│ pid +│ uptime +│ ↺ +│ status +│ cpu +│ mem +│ user +│ watching +│$/,
  );
  expect(lines[3]).toMatch(
    /^│ 0 +│ first +│ default +│ \S+ +│ fork +│ 0 +│ 0 +│ 0 +│ stopped +│ 0% +│ 0b +│ \S+ +│ disabled +│$/,
  );
  expect(lines[4]).toMatch(
    /^│ 1 +│ second-with-ü +│ default +│ \S+ +│ fork +│ \d+ +│ \d+s +│ 0 +│ online +│ \S+% +│ \d+(?:\.\d[km])?b +│ \S+ +│ disabled +│$/,
  );
  const widths = new Set(lines.map((line) => line.length));
  expect([...widths]).toHaveLength(1);
});

test('the empty table still has its head', async () => {
  const { stdout } = await pm.ok('ls');
  expect(stdout).toMatch(/│ id +│ name +│/);
});

test('describe', async () => {
  await pm.ok('start', app('prints.js'), '--', 'x');
  const { stdout } = await pm.ok('describe', 'prints');
  expect(stdout).toContain(' Describing process with id 0 - name prints ');
  for (const pattern of [
    /│ status +│ online +│/,
    /│ name +│ prints +│/,
    /│ namespace +│ default +│/,
    /│ restarts +│ 0 +│/,
    /│ script args +│ x +│/,
    /│ interpreter +│ node +│/,
    /│ exec mode +│ fork_mode +│/,
    /│ watch & reload +│ ✘ +│/,
    /│ unstable restarts +│ 0 +│/,
    /│ created at +│ \d{4}-\d\d-\d\dT[\d:.]+Z +│/,
  ]) {
    expect(stdout).toMatch(pattern);
  }
  expect(stdout).toContain(app('prints.js'));
});

test('describe of an unknown is an error', async () => {
  const { code, stdout, stderr } = await pm.run('describe', 'nobody');
  expect(code).toBe(1);
  expect(stdout + stderr).toContain("nobody doesn't exist");
});

onlyOurs('an unmonitored process has a red dot, or a mark where there are no colours', async () => {
  await pm.ok('start', app('prints.js'), '--name', 'hidden');
  await pm.ok('start', app('prints.js'), '--name', 'shown');
  await pm.ok('unmonitor', 'hidden');
  const row = (text: string, name: string) => text.split('\n').find((line) => line.includes(name));
  const colours = { env: { NO_COLOR: '', FORCE_COLOR: '1' } };

  const plain = (await pm.ok('list')).stdout;
  expect(row(plain, 'hidden')).toMatch(/^│ 0 +│ \[U\] hidden +│/);
  expect(row(plain, 'shown')).toMatch(/^│ 1 +│ shown +│/);
  expect(plain).not.toContain('●');
  const coloured = (await pm.with(pm.program, ['list'], colours)).stdout;
  expect(row(coloured, 'hidden')).toContain('\x1b[31m●\x1b[39m hidden');
  expect(row(coloured, 'shown')).not.toContain('●');
  expect((await pm.app('hidden')).pm2_env._km_monitored).toBe(false);

  await pm.ok('monitor', 'hidden');
  expect((await pm.ok('list')).stdout).not.toContain('[U]');
  expect((await pm.with(pm.program, ['list'], colours)).stdout).not.toContain('●');
});

test('jlist has the attributes in their order and types', async () => {
  await pm.ok('start', app('prints.js'), '--name', 'order');
  await until('it settled', () => pm.file('logs/order-out.log').includes('env'));
  const entry = await pm.app('order');
  expect(Object.keys(entry)).toEqual(['pid', 'name', 'pm2_env', 'pm_id', 'monit']);
  const env = entry.pm2_env;
  const keys = Object.keys(env);
  const inOrder = [
    'name',
    'namespace',
    'env',
    'merge_logs',
    'vizion',
    'autostart',
    'autorestart',
    'watch',
    'instance_var',
    'pmx',
    'automation',
    'treekill',
    'username',
    'windowsHide',
    'kill_retry_time',
    'pm_exec_path',
    'pm_cwd',
    'exec_interpreter',
    'exec_mode',
    'pm_out_log_path',
    'pm_err_log_path',
    'pm_pid_path',
    'km_link',
    'vizion_running',
    'NODE_APP_INSTANCE',
    'unique_id',
    'status',
    'pm_uptime',
    'axm_actions',
    'axm_monitor',
    'axm_options',
    'axm_dynamic',
    'created_at',
    'pm_id',
    'restart_time',
    'unstable_restarts',
  ];
  expect(keys.filter((key) => inOrder.includes(key))).toEqual(inOrder);
  expect(env.PM2_HOME).toBe(pm.home);
  expect(env.env.PM2_HOME).toBe(pm.home);
  expect(typeof env.created_at).toBe('number');
  expect(typeof env.pm_uptime).toBe('number');
  expect(env.NODE_APP_INSTANCE).toBe(0);
  expect(env.watch).toBe(false);
});

test('the mini list', async () => {
  await pm.ok('start', app('prints.js'));
  const { stdout } = await pm.ok('list', '-m');
  expect(stdout).toMatch(/\+--- prints/);
  expect(stdout).toMatch(/^status : online$/m);
});

test('silent prints nothing', async () => {
  const { code, stdout } = await pm.run('start', app('prints.js'), '-s');
  expect(code).toBe(0);
  expect(stdout).toBe('');
});

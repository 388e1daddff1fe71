// How a command line is read: where options stand, what they take, what `--` means. Users' scripts depend on each of these.
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeAll(() => {
  pm = new Manager();
  copyFileSync(path.join(apps, 'prints.js'), path.join(pm.dir, 'app.js'));
});
afterEach(() => pm.run('delete', 'all'));
afterAll(() => pm.dispose());

test('options stand before and behind the command, and the last one wins', async () => {
  await pm.ok('-n', 'one', 'start', 'app.js', '--name=two', '-k', '250', '-x');
  expect((await pm.app('two')).pm2_env).toMatchObject({ exec_mode: 'fork_mode', kill_timeout: 250 });
});

test('a value that is required is taken whatever it looks like', async () => {
  await pm.ok('start', 'app.js', '-x', '-i', '-100');
  expect(await pm.list()).toHaveLength(1);
  await pm.ok('start', 'app.js', '--name', 'flags', '--node-args', '--no-warnings');
  expect((await pm.app('flags')).pm2_env.node_args).toEqual(['--no-warnings']);
});

test('letters behind one dash are options of their own', async () => {
  await pm.ok('start', 'app.js');
  await pm.ok('start', 'app.js', '-fx');
  expect(await pm.list()).toHaveLength(2);
});

test('an optional value is taken unless it looks like an option', async () => {
  await pm.ok('start', 'app.js', '--log', '--no-autorestart');
  const { pm2_env } = await pm.app('app');
  expect(pm2_env.autorestart).toBe(false);
  expect(pm2_env.pm_log_path).toBe(path.join(pm.home, 'logs', 'app.log'));
  await pm.ok('start', 'app.js', '--name', 'given', '-l', 'mine.log');
  expect((await pm.app('given')).pm2_env.pm_log_path).toBe(path.join(pm.dir, 'mine.log'));
});

test('what stands behind -- belongs to the script', async () => {
  await pm.ok('start', 'app.js', '--name', 'args', '--', '-f', '--name', 'x', 'a b', '--', '-n');
  const { pm2_env } = await pm.app('args');
  expect(pm2_env.args).toEqual(['-f', '--name', 'x', 'a b', '--', '-n']);
});

test('log is logs', async () => {
  await pm.ok('start', 'app.js');
  await until('it has printed', () => pm.file('logs/app-out.log').length > 0);
  for (const words of [
    ['log', 'app', '--nostream'],
    ['log', '--nostream', 'app'],
  ]) {
    const { stdout } = await pm.ok(...words);
    expect(stdout).toContain('app-out.log last 15 lines:');
  }
});

test('several targets are acted on in turn, up to the first that fails', async () => {
  await pm.ok('start', 'app.js', '--name', 'a');
  await pm.ok('start', 'app.js', '--name', 'b');
  expect((await pm.run('stop', 'a', 'nobody', 'b')).code).toBe(1);
  expect((await pm.app('a')).pm2_env.status).toBe('stopped');
  expect((await pm.app('b')).pm2_env.status).toBe('online');
});

test('a configuration on standard input is stopped, restarted and deleted', async () => {
  const config = JSON.stringify({ apps: [{ name: 'piped', script: path.join(pm.dir, 'app.js') }] });
  expect((await pm.runWithInput(config, 'start', '-')).code).toBe(0);
  const first = await pm.app('piped');
  expect((await pm.runWithInput(config, 'restart', '-')).code).toBe(0);
  expect((await pm.app('piped')).pid).not.toBe(first.pid);
  expect((await pm.runWithInput(config, 'stop', '-')).code).toBe(0);
  expect((await pm.app('piped')).pm2_env.status).toBe('stopped');
  expect((await pm.runWithInput(config, 'delete', '-')).code).toBe(0);
  expect(await pm.list()).toEqual([]);
});

test('--write keeps the options as a file', async () => {
  await pm.ok('start', 'app.js', '--name', 'written', '--kill-timeout', '300', '--write');
  const file = path.join(pm.dir, 'written-pm2.json');
  await until('it is written', () => existsSync(file));
  const written = JSON.parse(readFileSync(file, 'utf8'));
  const [app] = written.apps ?? [written];
  expect(app).toMatchObject({ name: 'written', kill_timeout: 300 });
  await pm.ok('delete', 'written');
  await pm.ok('start', file);
  expect((await pm.app('written')).pm2_env.kill_timeout).toBe(300);
});

test('list --watch draws the list again and again', async () => {
  await pm.ok('start', 'app.js');
  const list = pm.follow('list', '--watch');
  try {
    await until('it was drawn three times', () => list.text().split('│ app ').length > 3);
  } finally {
    list.end();
  }
});

test.each([['-v'], ['-V'], ['--version']])('%s prints the version', async (flag) => {
  const { code, stdout } = await pm.run(flag);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^7\.\d+\.\d+$/m);
});

test('nothing at all is answered with the usage, and starts no daemon', async () => {
  const fresh = new Manager();
  const { code, stdout } = await fresh.runOnce();
  expect(code).toBe(1);
  expect(stdout).toContain('usage: pm2 [options] <command>');
  expect(existsSync(path.join(fresh.home, 'rpc.sock'))).toBe(false);
});

test('help of the program and of a command exits with 0', async () => {
  for (const words of [['-h'], ['--help'], ['start', '-h'], ['scale', '--help']]) {
    const { code, stdout } = await pm.run(...words);
    expect(code).toBe(0);
    expect(stdout).toContain('Usage: ');
  }
});

test('a question for help or the version is answered, whatever stands beside it', async () => {
  for (const words of [
    ['-h', 'nonsense'],
    ['--help', 'nonsense'],
  ]) {
    const { code, stdout } = await pm.run(...words);
    expect([code, stdout]).toEqual([0, expect.stringContaining('Usage: ')]);
  }
  expect(await pm.run('nonsense', '--version')).toMatchObject({ code: 0, stdout: '7.0.4\n' });
  expect((await pm.run('nonsense', '--help')).code).toBe(1);
});

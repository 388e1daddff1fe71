// Variables of the caller's environment that change what the program does, apart from those that name files.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const script = (name: string, text: string) => {
  const file = path.join(pm.dir, name);
  writeFileSync(file, text);
  return file;
};
const run = (env: Record<string, string>, ...args: string[]) => pm.with(pm.program, args, { env });

test('PM2_NODE_OPTIONS of the daemon reach Node apps in fork mode, and no others', async () => {
  const app = script('says.js', 'console.log(typeof gc, process.argv.length); setInterval(() => {}, 1000);');
  await run({ PM2_NODE_OPTIONS: '--expose-gc --no-warnings' }, 'ping');
  await pm.ok('start', app, '--name', 'fork');
  await pm.ok('start', app, '--name', 'cluster', '-i', '1');
  await pm.ok('start', 'echo shell; sleep 100', '--name', 'shell');
  const said = (file: string) => until(file, () => pm.file('logs', file).trim());
  expect(await said('fork-out.log')).toBe('function 2');
  expect(await said('cluster-out-1.log')).toBe('undefined 2');
  expect(await said('shell-out.log')).toBe('shell');
});

test('ASZ_MODE puts the time before each line', async () => {
  await run({ ASZ_MODE: '1' }, 'start', script('a.js', 'setInterval(() => {}, 1000);'));
  expect((await pm.app('a')).pm2_env.log_date_format).toBe('YYYY-MM-DDTHH:mm:ss');
});

test('PM2_SERVE_PORT and PM2_SERVE_PATH go before what was typed', async () => {
  const folder = path.join(pm.dir, 'site');
  mkdirSync(folder);
  writeFileSync(path.join(folder, 'index.html'), 'from the environment');
  const port = await freePort();
  const env = { PM2_SERVE_PORT: String(port), PM2_SERVE_PATH: folder };
  const { stdout } = await run(env, 'serve', '.', '1');
  expect(stdout).toContain(`[PM2] Serving ${folder} on port ${port}`);
  const page = () => fetch(`http://127.0.0.1:${port}/`).then((answer) => answer.text());
  expect(await until('it serves', () => page().catch(() => false as const))).toBe('from the environment');
});

test('how processes are stopped is told to the daemon: PM2_KILL_SIGNAL, PM2_KILL_USE_MESSAGE', async () => {
  const app = script(
    'ends.js',
    `for (const name of ['SIGTERM', 'SIGINT']) process.on(name, () => { console.log(name); process.exit(); });
     process.on('message', (text) => { console.log(text); process.exit(); });
     console.log('ready'); setInterval(() => {}, 1000);`,
  );
  const stopped = async (env: Record<string, string>) => {
    await pm.run('kill');
    await run(env, 'start', app);
    await until('it listens', () => pm.file('logs', 'ends-out.log').endsWith('ready\n'));
    await pm.ok('stop', 'ends');
    return pm.file('logs', 'ends-out.log').trim().split('\n').at(-1);
  };
  expect(await stopped({ PM2_KILL_SIGNAL: 'SIGTERM' })).toBe('SIGTERM');
  expect(await stopped({ PM2_KILL_USE_MESSAGE: '1' })).toBe('shutdown');
  expect(await stopped({})).toBe('SIGINT');
});

test('PM2_DISCRETE_MODE and PM2_SILENT keep the first command quiet', async () => {
  expect((await run({ PM2_SILENT: '1' }, 'ping')).stdout).toBe('');
  await pm.run('kill');
  expect((await run({ PM2_DISCRETE_MODE: '1' }, 'ping')).stdout).toBe("{ msg: 'pong' }\n");
});

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { alive } from '../lib/scratch.ts';
import { apps, root } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const app = (name: string) => path.join(apps, name);

describe('start', () => {
  test('a script becomes a process named after it', async () => {
    const { stdout } = await pm.ok('start', app('prints.js'));
    expect(stdout).toContain('in fork_mode (1 instance)');
    expect(stdout).toContain('[PM2] Done.');
    const entry = await pm.app('prints');
    expect(entry.pm_id).toBe(0);
    expect(entry.pid).toBeGreaterThan(1);
    expect(alive(entry.pid)).toBe(true);
    expect(entry.pm2_env).toMatchObject({
      status: 'online',
      exec_mode: 'fork_mode',
      exec_interpreter: 'node',
      restart_time: 0,
      unstable_restarts: 0,
      namespace: 'default',
      autorestart: true,
      pm_exec_path: app('prints.js'),
    });
  });

  test('arguments after -- and options reach the app', async () => {
    await pm.ok('start', app('prints.js'), '--name', 'named', '--', 'a', 'b c', '--flag');
    const log = path.join(pm.home, 'logs/named-out.log');
    const text = await until('the app printed', () => {
      const now = readFileSync(log, 'utf8');
      return now.includes('env ') && now;
    });
    expect(text).toContain('args ["a","b c","--flag"]');
    expect(text).toContain(' 0 named 0');
  });

  test('any interpreter: python, bash, a binary, a command line', async () => {
    await pm.ok('start', app('loop.py'));
    expect((await pm.app('loop')).pm2_env.exec_interpreter).toMatch(/python/);
    await pm.ok('start', 'sleep', '--name', 'binary', '--', '1000');
    expect((await pm.app('binary')).pm2_env.exec_interpreter).toBe('none');
    await pm.ok('start', 'echo one; sleep 1000', '--name', 'line');
    expect((await pm.app('line')).pm2_env.args).toEqual(['-c', 'echo one; sleep 1000']);
    for (const name of ['loop', 'binary', 'line']) await pm.status(name, 'online');
  });

  test('the same script again is refused without --force', async () => {
    await pm.ok('start', app('prints.js'));
    const again = await pm.run('start', app('prints.js'));
    expect(again.code).toBe(1);
    expect(again.stderr).toContain('Script already launched');
    await pm.ok('start', app('prints.js'), '-f');
    expect((await pm.list()).map((entry) => entry.pm_id)).toEqual([0, 1]);
  });

  test('a name that exists is restarted', async () => {
    await pm.ok('start', app('prints.js'));
    await pm.ok('stop', 'prints');
    await pm.ok('start', 'prints');
    expect((await pm.app('prints')).pm2_env.status).toBe('online');
    expect(await pm.list()).toHaveLength(1);
  });

  test('a missing script is an error', async () => {
    const outcome = await pm.run('start', 'no-such-script.js');
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain('Script not found');
    expect(await pm.list()).toEqual([]);
  });

  test('wait_ready holds the answer until the app is ready', async () => {
    await pm.ok('start', app('ready.js'), '--wait-ready', '--listen-timeout', '20000');
    expect((await pm.app('ready')).pm2_env.status).toBe('online');
  });
});

describe('stop, restart, delete', () => {
  test('a namespace stands for all apps in it', async () => {
    await pm.ok('start', app('prints.js'), '--name', 'one', '--namespace', 'back');
    await pm.ok('start', app('loop.py'), '--name', 'two', '--namespace', 'back');
    await pm.ok('start', app('prints.js'), '--name', 'three');
    const all = async (key: string) => (await pm.list()).map((entry) => [entry.name, entry.pm2_env[key]]);
    await pm.ok('stop', 'back');
    expect(await all('status')).toEqual([
      ['one', 'stopped'],
      ['two', 'stopped'],
      ['three', 'online'],
    ]);
    await pm.ok('start', 'back');
    await pm.ok('restart', 'back');
    expect(await all('restart_time')).toEqual([
      ['one', 1],
      ['two', 1],
      ['three', 0],
    ]);
    const { stdout } = await pm.ok('delete', 'back');
    expect(stdout).toContain('Applying action deleteProcessId on app [back](ids: [ 0, 1 ])');
    expect(await all('status')).toEqual([['three', 'online']]);
  });

  test('restart keeps the environment, but with --update-env', async () => {
    const within = async (value: string, ...args: string[]) => {
      const { code } = await pm.with(pm.program, args, { env: { CUSTOM: value } });
      expect(code).toBe(0);
    };
    const told = () => [...pm.file('logs/prints-out.log').matchAll(/^env (\S+)/gm)].map((found) => found[1]);
    await within('first', 'start', app('prints.js'));
    await until('it told', () => told().length === 1);
    await within('second', 'restart', 'prints');
    await until('it told again', () => told().length === 2);
    await within('third', 'restart', 'prints', '--update-env');
    await until('it told once more', () => told().length === 3);
    expect(told()).toEqual(['first', 'first', 'third']);
    expect((await pm.app('prints')).pm2_env.CUSTOM).toBe('third');
  });

  test('stop keeps the entry, restart brings it back with a new pid', async () => {
    await pm.ok('start', app('prints.js'));
    const before = await pm.app('prints');
    await pm.ok('stop', 'prints');
    const stopped = await pm.app('prints');
    expect(stopped.pid).toBe(0);
    expect(stopped.pm2_env.status).toBe('stopped');
    expect(alive(before.pid)).toBe(false);
    await pm.ok('restart', '0');
    const back = await pm.app('prints');
    expect(back.pm2_env).toMatchObject({ status: 'online', restart_time: 0 });
    await pm.ok('restart', 'prints');
    const again = await pm.app('prints');
    expect(again.pm2_env.restart_time).toBe(1);
    expect(again.pid).not.toBe(back.pid);
  });

  test('delete forgets; ids begin at 0 again when all are gone', async () => {
    await pm.ok('start', app('prints.js'));
    await pm.ok('start', app('loop.py'));
    await pm.ok('delete', 'prints');
    expect((await pm.list()).map((entry) => entry.name)).toEqual(['loop']);
    await pm.ok('delete', 'all');
    expect(await pm.list()).toEqual([]);
    await pm.ok('start', app('prints.js'));
    expect((await pm.app('prints')).pm_id).toBe(0);
  });

  test('an app that ignores SIGINT is killed after kill_timeout, with its children', async () => {
    await pm.ok('start', app('stubborn.js'), '--kill-timeout', '300');
    const { pid } = await pm.app('stubborn');
    await until('the app is up', () => pm.file('logs/stubborn-out.log').includes('stubborn'));
    await pm.ok('stop', 'stubborn');
    expect(alive(pid)).toBe(false);
    expect((await pm.app('stubborn')).pm2_env.status).toBe('stopped');
  });

  test('descendants die with the app', async () => {
    await pm.ok('start', 'sleep 4242 & sleep 4243 & wait', '--name', 'tree');
    const { pid } = await pm.app('tree');
    const children = await until('the tree stands', () => {
      const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
      return list.length === 2 && list;
    });
    await pm.ok('delete', 'tree');
    expect(children.map(alive)).toEqual([false, false]);
  });

  test('unknown targets are an error with exit 1', async () => {
    await pm.ok('start', app('prints.js'));
    for (const verb of ['stop', 'restart', 'delete']) {
      const outcome = await pm.run(verb, 'nobody');
      expect(outcome.code, verb).toBe(1);
      expect(outcome.stderr, verb).toContain('Process or Namespace nobody not found');
    }
    const described = await pm.run('describe', 'nobody');
    expect(described.code).toBe(1);
    expect(described.stderr + described.stdout).toContain("nobody doesn't exist");
  });
});

describe('when an app ends', () => {
  test('a crash is followed by a new process with the same id', async () => {
    await pm.ok('start', app('prints.js'));
    const { pid } = await pm.app('prints');
    process.kill(pid, 'SIGKILL');
    const back = await until('a new process', async () => {
      const entry = await pm.app('prints');
      return entry.pid !== pid && entry.pid > 0 && entry.pm2_env.status === 'online' && entry;
    });
    expect(back.pm_id).toBe(0);
    expect(back.pm2_env.restart_time).toBe(1);
  });

  test('too many unstable restarts end in errored', async () => {
    await pm.ok('start', app('exits.js'), '--max-restarts', '3');
    const { pm2_env } = await pm.status('exits', 'errored');
    expect(pm2_env).toMatchObject({ restart_time: 2, unstable_restarts: 0, created_at: null, exit_code: 1 });
  });

  test('autorestart off and stop exit codes end in stopped', async () => {
    await pm.ok('start', app('exits.js'), '--name', 'once', '--no-autorestart');
    expect((await pm.status('once', 'stopped')).pm2_env.restart_time).toBe(0);
    process.env.CODE = '0';
    try {
      await pm.ok('start', app('exits.js'), '--name', 'clean', '--stop-exit-codes', '0');
    } finally {
      delete process.env.CODE;
    }
    expect((await pm.status('clean', 'stopped')).pm2_env.restart_time).toBe(0);
  });

  test('restart_delay shows as waiting restart', async () => {
    await pm.ok('start', app('exits.js'), '--restart-delay', '60000');
    const entry = await pm.status('exits', 'waiting restart');
    // The original still shows the dead process's pid here.
    expect(entry.pid === 0 || !alive(entry.pid)).toBe(true);
  });

  test('exponential backoff grows by half', async () => {
    await pm.ok('start', app('exits.js'), '--exp-backoff-restart-delay', '100');
    const seen = await until('a grown delay', async () => {
      const { pm2_env } = await pm.app('exits');
      return pm2_env.prev_restart_delay >= 225 && pm2_env.prev_restart_delay;
    });
    // 100, 150, 225, 337, 505, … rounded down each time
    const steps = [100];
    while ((steps.at(-1) ?? 0) < 15_000) steps.push(Math.min(15_000, Math.floor((steps.at(-1) ?? 0) * 1.5)));
    expect(steps).toContain(seen);
  });

  test('memory above the limit restarts', async () => {
    const small = new Manager(undefined, { PM2_WORKER_INTERVAL: '500' });
    try {
      await small.ok('start', app('prints.js'), '--max-memory-restart', '1M');
      await until('a restart', async () => (await small.app('prints')).pm2_env.restart_time > 0);
    } finally {
      await small.dispose();
    }
  });
});

describe('the list survives', () => {
  test('save and resurrect bring back what ran', async () => {
    await pm.ok('start', app('prints.js'));
    await pm.ok('start', app('loop.py'));
    await pm.ok('stop', 'loop');
    await pm.ok('save');
    const saved = JSON.parse(pm.file('dump.pm2'));
    expect(saved.map((entry: { name: string }) => entry.name)).toEqual(['prints', 'loop']);
    expect(saved[0]).not.toHaveProperty('pm_id');
    await pm.ok('kill');
    expect(existsSync(path.join(pm.home, 'pm2.pid'))).toBe(false);
    await pm.ok('resurrect');
    const list = await pm.list();
    expect(list.map((entry) => [entry.name, entry.pm2_env.status])).toEqual([
      ['prints', 'online'],
      ['loop', 'stopped'],
    ]);
  });

  test('a broken dump falls back to its backup', async () => {
    await pm.ok('start', app('prints.js'));
    await pm.ok('save');
    await pm.ok('save');
    await pm.ok('kill');
    writeFileSync(path.join(pm.home, 'dump.pm2'), '[{"name": "prin');
    await pm.ok('resurrect');
    expect((await pm.app('prints')).pm2_env.status).toBe('online');
  });

  test('a polite kill of the daemon ends apps and daemon', async () => {
    await pm.ok('start', app('prints.js'));
    const { pid } = await pm.app('prints');
    const daemon = pm.daemonPid();
    process.kill(daemon, 'SIGTERM');
    await until('app and daemon ended', () => !alive(pid) && !alive(daemon));
    expect(JSON.parse(pm.file('dump.pm2'))[0].name).toBe('prints');
  });
});

describe('small verbs', () => {
  test('ping, pid, id', async () => {
    expect((await pm.ok('ping')).stdout).toContain("{ msg: 'pong' }");
    await pm.ok('start', app('prints.js'));
    const { pid } = await pm.app('prints');
    expect((await pm.ok('pid', 'prints')).stdout.trim()).toBe(String(pid));
    expect((await pm.ok('id', 'prints')).stdout).toContain('[ 0 ]');
  });

  test('no argument prints the usage and starts nothing', async () => {
    const { code, stdout } = await pm.run();
    expect(code).toBe(1);
    expect(stdout).toMatch(/^usage: pm2 \[options\] <command>/m);
    expect(existsSync(path.join(pm.home, 'pm2.pid'))).toBe(false);
  });

  test('an unknown option is refused', async () => {
    const { code, stderr } = await pm.run('list', '--no-such-option');
    expect(code).toBe(1);
    expect(stderr).toContain("unknown option `--no-such-option'");
  });

  test('unmonitor and monitor set the flag and keep the process', async () => {
    await pm.ok('start', app('prints.js'));
    const { pid } = await pm.app('prints');
    await pm.ok('unmonitor', 'prints');
    expect((await pm.app('prints')).pm2_env._km_monitored).toBe(false);
    await pm.ok('monitor', 'prints');
    const after = await pm.app('prints');
    expect(after.pm2_env._km_monitored).toBe(true);
    expect(after.pid).toBe(pid);
  });
});

// The releases come as packages, where there is a binary of them for the machine.
const releases = path.join(root, 'e2e/nodes/node_modules');
test.runIf(existsSync(path.join(releases, 'node-18/bin/node')))(
  'node@x.y.z is that release of nvm',
  async () => {
    const node = path.join(releases, 'node-18/bin/node');
    const version = execFileSync(node, ['--version']).toString().trim();
    const place = path.join(pm.dir, 'nvm/versions/node', version, 'bin');
    mkdirSync(place, { recursive: true });
    symlinkSync(node, path.join(place, 'node'));
    writeFileSync(
      path.join(pm.dir, 'app.js'),
      `console.log('runs', process.version); setInterval(() => {}, 1000);`,
    );
    const nvm = { env: { NVM_DIR: path.join(pm.dir, 'nvm') } };
    const words = ['start', 'app.js', '--interpreter', `node@${version.slice(1)}`];
    expect((await pm.with(pm.program, words, nvm)).code).toBe(0);
    await until('it says who runs it', () => pm.file('logs', 'app-out.log').includes(`runs ${version}\n`));
    const { pm2_env } = await pm.app('app');
    expect(pm2_env.exec_interpreter).toBe(path.join(place, 'node'));
    await until(
      'its version is told',
      async () => (await pm.app('app')).pm2_env.node_version === version.slice(1),
    );
  },
);

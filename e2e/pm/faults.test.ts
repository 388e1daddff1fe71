// Bad surroundings: limits, full disks, races for a home, old dumps, and apps that do what they should not.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ask } from '../lib/cluster.ts';
import { load } from '../lib/load.ts';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { alive, processesWith } from '../lib/scratch.ts';
import { apps, onlyOurs, root, underTest } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const MB = 1024 * 1024;
const asRoot = test.runIf(underTest === 'ours' && process.getuid?.() === 0);

/** Writes a script into the test's folder. */
function script(name: string, text: string): string {
  const file = path.join(pm.dir, name);
  writeFileSync(file, text, { mode: 0o755 });
  return file;
}

/** Resident memory of the daemon, bytes. */
const memory = () =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pm.daemonPid()}/status`, 'utf8'))?.[1]) * 1024;

onlyOurs('many commands that race for an empty home start one daemon', async () => {
  const outcomes = await Promise.all(
    Array.from({ length: 8 }, (_, n) =>
      pm.run('start', path.join(apps, 'prints.js'), '--name', `app${n}`, '-f'),
    ),
  );
  for (const { code, stdout, stderr } of outcomes) expect(`${code} ${stdout}${stderr}`).toMatch(/^0 /);
  const list = await pm.list();
  expect(list.map((entry) => entry.name).sort()).toEqual(Array.from({ length: 8 }, (_, n) => `app${n}`));
  expect(new Set(list.map((entry) => entry.pm_id)).size).toBe(8);
  const daemons = processesWith(`PM2_HOME=${pm.home}`).filter((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('God Daemon'),
  );
  // The daemon and nobody else answers to that name.
  expect(daemons).toEqual([pm.daemonPid()]);
});

test('a dump that PM2 5 wrote is resurrected', async () => {
  const old = { path: path.join(root, 'e2e/nodes/node_modules/pm2-5/bin/pm2'), node: true };
  expect(existsSync(old.path), 'run `npm ci` in e2e/nodes first').toBe(true);
  const file = path.join(pm.dir, 'eco.json');
  const app = { script: path.join(apps, 'prints.js'), args: 'one two', env: { CUSTOM: 'kept' } };
  writeFileSync(
    file,
    JSON.stringify({
      apps: [
        { ...app, name: 'forked', max_restarts: 7, cron_restart: '0 0 * * *' },
        { ...app, name: 'workers', exec_mode: 'cluster', instances: 2 },
        { script: path.join(apps, 'loop.py'), name: 'python', interpreter: 'python3' },
      ],
    }),
  );
  for (const words of [['start', file], ['stop', 'python'], ['save', '--force'], ['kill']]) {
    expect(`${(await pm.with(old, words)).code} ${words.join(' ')}`).toMatch(/^0 /);
  }
  await pm.ok('resurrect');
  const list = await pm.list();
  expect(list.map((entry) => [entry.name, entry.pm2_env.exec_mode]).sort()).toEqual([
    ['forked', 'fork_mode'],
    ['python', 'fork_mode'],
    ['workers', 'cluster_mode'],
    ['workers', 'cluster_mode'],
  ]);
  expect((await pm.status('forked', 'online')).pm2_env).toMatchObject({
    args: ['one', 'two'],
    CUSTOM: 'kept',
    max_restarts: 7,
    cron_restart: '0 0 * * *',
  });
  await until('it printed', () => pm.file('logs/forked-out.log').includes('args ["one","two"]'));
});

asRoot(
  'a full disk under the home is told; what runs runs on, and all is well when there is room',
  async () => {
    mkdirSync(pm.home);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', pm.home]);
    try {
      await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'runs');
      const { pid } = await pm.app('runs');
      const filler = path.join(pm.home, 'filler');
      try {
        for (;;) writeFileSync(filler, 'x'.repeat(64 * 1024), { flag: 'a' });
      } catch (error) {
        expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC');
      }
      const saved = await pm.run('save');
      expect(saved.code).toBe(1);
      expect(saved.stderr).toMatch(/dump\.pm2.*No space left/);
      const started = await pm.run('start', path.join(apps, 'prints.js'), '--name', 'more', '-f');
      expect(`${started.code} ${started.stderr}`).toMatch(/^0 /);
      expect((await pm.app('runs')).pid).toBe(pid);
      await pm.status('more', 'online');
      // Even a new daemon finds its way.
      const daemon = pm.daemonPid();
      process.kill(daemon, 'SIGKILL');
      await until('the daemon is gone', () => !alive(daemon));
      expect((await pm.app('runs')).pid).toBe(pid);

      execFileSync('rm', [filler]);
      await pm.ok('save');
      expect(JSON.parse(pm.file('dump.pm2'))).toHaveLength(2);
      await pm.ok('restart', 'more');
      expect((await pm.app('runs')).pm2_env.restart_time).toBe(0);
      await pm.ok('kill');
    } finally {
      await pm.run('kill');
      execFileSync('umount', ['-l', pm.home]);
    }
  },
);

onlyOurs(
  'a daemon at its limit of descriptors refuses with the reason, and goes on with what it has',
  async () => {
    const limited = (...words: string[]) =>
      pm.with({ path: 'prlimit', node: false }, ['--nofile=256:256', pm.program.path, ...words]);
    expect((await limited('start', path.join(apps, 'prints.js'), '--name', 'first')).code).toBe(0);
    const { pid } = await pm.app('first');
    const file = path.join(pm.dir, 'eco.json');
    const app = { name: 'many', script: 'sleep', args: '1000', instances: 40, exec_mode: 'fork' };
    writeFileSync(file, JSON.stringify({ apps: [{ ...app, max_restarts: 1, min_uptime: 10_000 }] }));
    const asked = await pm.run('start', file);
    const log = () => pm.file('pm2.log');
    await until('the limit is told', () => /at its limit of 256 open files.*ulimit -n/.test(log()));
    expect(asked.code).toBe(1);
    expect(log()).not.toContain('the daemon has ended');
    const daemon = pm.daemonPid();
    process.kill(daemon, 'SIGKILL');
    await until('a successor has as much room', () => pm.daemonPid() !== daemon);
    const entry = await pm.app('first');
    expect([entry.pid, entry.pm2_env.status, entry.pm2_env.restart_time]).toEqual([pid, 'online', 0]);
    await until('the rest can be deleted', async () => (await pm.run('delete', 'many')).code === 0);
    await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'later', '-f');
    await pm.status('later', 'online');
    await until('its output is logged', () => pm.file('logs/later-out.log').includes('to stdout'));
  },
);

onlyOurs('a worker at its limit of descriptors refuses for a while, and then serves again', async () => {
  // Cluster mode goes by the name of the interpreter.
  const interpreter = script('node', `#!/bin/sh\nulimit -n 40\nexec ${process.execPath} "$@"\n`);
  const port = await freePort();
  const file = path.join(pm.dir, 'eco.json');
  const app = { name: 'web', script: path.join(apps, 'cluster.js'), exec_mode: 'cluster', instances: 2 };
  writeFileSync(file, JSON.stringify({ apps: [{ ...app, interpreter, env: { PORT: port, DELAY: 20 } }] }));
  await pm.ok('start', file);
  const pids = (await pm.list()).map((entry) => entry.pid);
  await until('it serves', () => ask(port));
  const clients = load(port, { clients: 100, keepAlive: true });
  try {
    await until('the load runs', () => clients.seen.ok > 200);
  } finally {
    await clients.stop();
  }
  const served = new Set<number>();
  await until('both serve again', async () => served.add((await ask(port)).pid).size === 2);
  expect((await pm.list()).map((entry) => entry.pid)).toEqual(pids);
});

onlyOurs('a flood on stderr is written whole, in bounded memory, and holds nobody up', async () => {
  const flood = script(
    'flood.py',
    `import os, time
block = b"".join(b"%07d\\n" % n for n in range(8192))
left = 100 * 1024 * 1024
while left:
    left -= os.write(2, block[:left])
os.write(1, b"done\\n")
time.sleep(1000)
`,
  );
  await pm.ok('set', 'logrotate:enabled', 'false');
  await pm.ok('start', path.join(apps, 'loop.py'), '--name', 'other');
  await pm.ok('start', flood, '--name', 'flood', '--interpreter', 'python3');
  await until('all of it was written', () => pm.file('logs/flood-out.log').includes('done'), {
    within: 60_000,
  });
  const errors = path.join(pm.home, 'logs/flood-error.log');
  await until('all of it is in the file', () => statSync(errors).size === 100 * MB);
  expect(memory()).toBeLessThan(100 * MB);
  const lines = pm.file('logs/other-out.log').split('\n').length;
  await until('the other is heard', () => pm.file('logs/other-out.log').split('\n').length > lines + 3);
  await pm.ok('ping');
});

test('what an app writes that is no UTF-8 stands in its log as it was written', async () => {
  const bytes = Buffer.from([0x61, 0xff, 0xfe, 0xc3, 0x28, 0x62, 0x0a]);
  const file = script(
    'bytes.py',
    `import os, time\nos.write(1, bytes(${JSON.stringify([...bytes])}))\ntime.sleep(1000)\n`,
  );
  await pm.ok('start', file, '--name', 'bytes', '--interpreter', 'python3');
  await until('it was written', () => statSync(path.join(pm.home, 'logs/bytes-out.log')).size > 0);
  const { stdout } = await pm.ok('logs', 'bytes', '--nostream', '--lines', '5');
  expect(stdout).toMatch(/a.+b/);
  const kept = readFileSync(path.join(pm.home, 'logs/bytes-out.log'));
  // The original decodes and encodes again, which leaves marks in the place of what it does not know.
  expect(underTest === 'ours' ? kept : Buffer.from(kept.toString())).toEqual(
    underTest === 'ours' ? bytes : Buffer.from(bytes.toString()),
  );
});

test('an app that forks away has ended; what it left behind holds nothing up', async () => {
  const file = script(
    'away.sh',
    `trap '' HUP\nsetsid sh -c 'echo $$ > ${pm.dir}/left; exec sleep 1000' &\nwhile [ ! -s ${pm.dir}/left ]; do :; done\nexit 0\n`,
  );
  await pm.ok('start', file, '--name', 'away', '--interpreter', 'bash', '--no-autorestart');
  try {
    const { pm2_env: env } = await pm.status('away', 'stopped');
    expect(env.exit_code).toBe(0);
    await pm.ok('delete', 'away');
    expect(await pm.list()).toEqual([]);
    await pm.ok('ping');
  } finally {
    process.kill(Number(readFileSync(path.join(pm.dir, 'left'), 'utf8')), 'SIGKILL');
  }
});

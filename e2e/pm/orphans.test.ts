// Keeper and daemon end together: what lives on is managed again, and nothing is started twice.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { alive, parentOf, processesWith } from '../lib/scratch.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

/** As if the keeper were killed in the moment in which it has no daemon, such as that of an update. */
async function killBoth() {
  const daemon = pm.daemonPid();
  const keeper = parentOf(daemon);
  process.kill(keeper, 'SIGSTOP');
  process.kill(daemon, 'SIGKILL');
  process.kill(keeper, 'SIGKILL');
  await until('both are gone', () => hasEnded(daemon) && hasEnded(keeper));
}

/** Whether the last thread has ended too: until then its sockets are open, and the next command would be let in. */
function hasEnded(pid: number): boolean {
  if (alive(pid)) return false;
  try {
    return readdirSync(`/proc/${pid}/task`).length <= 1;
  } catch {
    return true;
  }
}

/** Says a line each time it is sent SIGUSR2, and nothing in between. */
const speaker = `process.on('SIGUSR2', () => console.log('still heard'));
setInterval(() => {}, 1000);
console.log('up');`;

onlyOurs('what runs is found again, with its output, its input and its counters', async () => {
  const script = path.join(pm.dir, 'speaker.js');
  writeFileSync(script, speaker);
  await pm.ok('start', script, '--name', 'speaker');
  // What reads its input sees the end of it, and may try again.
  const reader = path.join(pm.dir, 'reader.py');
  writeFileSync(
    reader,
    `import sys, time
while True:
    line = sys.stdin.readline()
    if line:
        print("read " + line.strip(), flush=True)
    time.sleep(0.05)
`,
  );
  await pm.ok('start', reader, '--interpreter', 'python3', '--name', 'other');
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'rests');
  const ups = () => pm.file('logs/speaker-out.log').match(/up/g)?.length;
  await until('it is up', () => ups() === 1);
  await pm.ok('restart', 'speaker');
  await pm.ok('stop', 'rests');
  await until('it is up again', () => ups() === 2);
  const before = await pm.list();
  await killBoth();

  const after = await pm.list();
  const seen = (list: typeof before) =>
    list.map(({ name, pid, pm_id, pm2_env: env }) => [
      name,
      pm_id,
      pid,
      env.status,
      env.restart_time,
      env.pm_uptime,
      env.created_at,
    ]);
  expect(seen(after)).toEqual(seen(before));
  expect(pm.file('pm2.log')).toContain('2 processes lived on without a daemon and a keeper');

  const { pid } = await pm.app('speaker');
  process.kill(pid, 'SIGUSR2');
  await until('its output is read on', () => pm.file('logs/speaker-out.log').includes('still heard'));
  await pm.ok('send', '1', 'a line');
  await until('its input works', () => pm.file('logs/other-out.log').includes('read a line'));

  // And once more, by the daemon that took it back.
  await killBoth();
  expect(seen(await pm.list())).toEqual(seen(before));

  process.kill(pid, 'SIGKILL');
  const again = await until('it is restarted', async () => {
    const entry = await pm.app('speaker');
    return entry.pid !== pid && entry.pm2_env.status === 'online' && entry;
  });
  expect(again.pm2_env.restart_time).toBe(2);
  await pm.ok('restart', 'other');
  expect(alive(before[1]?.pid ?? 0)).toBe(false);
  await pm.ok('delete', 'all');
  expect(await pm.list()).toEqual([]);
  await killBoth();
  expect(await pm.list()).toEqual([]);
});

onlyOurs('what ended meanwhile is started again, what was deleted is not', async () => {
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'lives');
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'dies', '-f');
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'deleted', '-f');
  await pm.ok('delete', 'deleted');
  const [lives, dies] = await pm.list();
  await killBoth();
  process.kill(dies?.pid ?? 0, 'SIGKILL');
  await until('one is dead', () => !alive(dies?.pid ?? 0));
  await pm.ok('ping');
  expect((await pm.status('lives', 'online')).pid).toBe(lives?.pid);
  const back = await pm.status('dies', 'online');
  expect(back.pid).not.toBe(dies?.pid);
  expect((await pm.list()).length).toBe(2);
  for (const id of [0, 1]) {
    const mine = processesWith(`PM2_HOME=${pm.home}`).filter((pid) =>
      readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`pm_id=${id}`),
    );
    expect(mine.length).toBe(1);
  }
  // A saved list brings nothing twice either.
  await pm.ok('save');
  await killBoth();
  await pm.ok('resurrect');
  expect((await pm.list()).map((entry) => entry.name)).toEqual(['lives', 'dies']);
  expect((await pm.app('lives')).pid).toBe(lives?.pid);
});

onlyOurs('where nothing lives on, one begins with an empty list', async () => {
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'gone');
  const { pid } = await pm.app('gone');
  await killBoth();
  process.kill(pid, 'SIGKILL');
  await until('it is dead', () => !alive(pid));
  expect(await pm.list()).toEqual([]);
});

onlyOurs('what was started in the moment in which both were killed is not left to itself', async () => {
  await pm.ok('ping');
  const daemon = pm.daemonPid();
  const keeper = parentOf(daemon);
  process.kill(keeper, 'SIGSTOP');
  const asked = pm.run('start', path.join(apps, 'prints.js'), '--name', 'fresh');
  await until('it is asked for', () => existsSync(path.join(pm.home, 'ledger/0')));
  // The daemon never hears what has come of it.
  process.kill(daemon, 'SIGSTOP');
  process.kill(keeper, 'SIGCONT');
  const started = () =>
    processesWith(`PM2_HOME=${pm.home}`).filter(
      (pid) => alive(pid) && readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes('pm_id=0'),
    );
  const [stray] = await until('it is started', () => started().length > 0 && started());
  process.kill(keeper, 'SIGSTOP');
  process.kill(daemon, 'SIGKILL');
  process.kill(keeper, 'SIGKILL');
  await until('both are gone', () => hasEnded(daemon) && hasEnded(keeper));
  expect((await asked).code).not.toBe(0);

  const entry = await pm.status('fresh', 'online');
  await until('it has the place of the other', () => started().join() === String(entry.pid));
  expect(entry.pid).not.toBe(stray);
});

onlyOurs('a keeper that is killed when the old daemon has left for an update', async () => {
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'lives');
  const { pid } = await pm.app('lives');
  await killBoth();
  const { stdout } = await pm.ok('update');
  expect(stdout).toContain('starting one');
  const entry = await pm.app('lives');
  expect([entry.pid, entry.pm2_env.status, entry.pm2_env.restart_time]).toEqual([pid, 'online', 0]);
  await pm.ok('restart', 'lives');
  expect(alive(pid)).toBe(false);
});

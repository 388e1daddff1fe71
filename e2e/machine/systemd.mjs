// Runs inside a machine that systemd boots (lib/machine.ts), as root, once a boot: the first sets everything up as a person would, the
// second looks at what came back by itself.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { inTurn, manager, read, until } from './common.mjs';

const TOP = '/sys/fs/cgroup';
const ADA = '/home/ada';

const root = manager('/var/lib/tried/.pm2');
const ada = manager(`${ADA}/.pm2`, ['setpriv', '--reuid', 'ada', '--regid', 'ada', '--init-groups']);
const people = { root, ada };
const systemctl = (...words) => {
  const { status, stdout, stderr } = spawnSync('systemctl', words, { encoding: 'utf8' });
  return { status, said: `${stdout}${stderr}`.trim() };
};
const daemon = (pm) => Number(read(`${pm.home}/pm2.pid`));
const parent = (pid) => Number(/^PPid:\s+(\d+)$/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1]);
const pids = (pm) => Object.fromEntries(pm.list().map((entry) => [entry.name, entry.pid]));
const cgroup = (pid) => read(`/proc/${pid}/cgroup`);
/** How many processes are in a unit's cgroup and those below it. */
function population(unit) {
  const top = `${TOP}/system.slice/${unit}`;
  if (!existsSync(top)) return 0;
  const below = readdirSync(top, { recursive: true, withFileTypes: true });
  return below
    .filter((entry) => entry.name === 'cgroup.procs')
    .map((entry) => read(path.join(entry.parentPath ?? entry.path, entry.name)))
    .filter((text) => text !== '')
    .join('\n')
    .split('\n')
    .filter(Boolean).length;
}

const first = {
  setUp() {
    execFileSync('useradd', ['--create-home', '--home-dir', ADA, '--shell', '/bin/sh', 'ada']);
    mkdirSync('/var/lib/tried', { recursive: true });
    writeFileSync('/var/lib/tried/waits.js', 'setInterval(() => {}, 1000);');
    const apps = [
      { name: 'held', script: '/var/lib/tried/waits.js', limits: { memory_max: '100M', pids_max: 40 } },
      { name: 'free', script: '/var/lib/tried/waits.js' },
    ];
    writeFileSync('/var/lib/tried/apps.json', JSON.stringify({ apps }));
    return {};
  },
  ...Object.fromEntries(
    Object.entries(people).map(([user, pm]) => [
      user,
      () => ({
        // What a user without rights is told to have done by root.
        told: user === 'root' ? null : pm.run('startup').stdout,
        startup: root.run('startup', '-u', user, '--hp', path.dirname(pm.home)),
        enabled: systemctl('is-enabled', `pm2-${user}`),
        started: pm.run('start', '/var/lib/tried/apps.json'),
        saved: pm.run('save'),
      }),
    ]),
  ),
};

const second = Object.fromEntries(
  Object.entries(people).map(([user, pm]) => [
    user,
    () => {
      const unit = `pm2-${user}.service`;
      const found = { unit: systemctl('is-active', unit) };
      until('the apps are online', () => pm.list().filter((e) => e.pm2_env.status === 'online').length === 2);
      const held = pm.app('held');
      found.held = {
        limits: held.limits,
        memory: held.limits.cgroup && read(`${held.limits.cgroup}/memory.max`),
        pids: held.limits.cgroup && read(`${held.limits.cgroup}/pids.max`),
        own: cgroup(held.pid),
      };
      found.free = cgroup(pm.app('free').pid);
      found.uid = /^Uid:\s+(\d+)/m.exec(read(`/proc/${held.pid}/status`))[1];

      /** What is done to the manager, and whether apps and unit stay as they are. */
      const outlives = (what) => {
        const before = pids(pm);
        what();
        const after = until('it answers', () => Object.keys(pids(pm)).length === 2 && pids(pm));
        return {
          same: JSON.stringify(before) === JSON.stringify(after),
          unit: systemctl('is-active', unit).said,
        };
      };
      found.daemonKilled = outlives(() => process.kill(daemon(pm), 'SIGKILL'));
      found.keeperKilled = outlives(() => process.kill(parent(daemon(pm)), 'SIGKILL'));
      found.updated = outlives(() => pm.run('update'));
      found.where = cgroup(daemon(pm));

      const before = pids(pm);
      found.reload = systemctl('reload', unit);
      const reloaded = pids(pm);
      found.anew = Object.keys(before).filter((name) => reloaded[name] !== before[name]);

      found.stop = systemctl('stop', unit);
      found.stopped = { unit: systemctl('is-active', unit).said, left: population(unit) };
      found.failed = systemctl('is-failed', unit).said;
      found.start = systemctl('start', unit);
      found.again = pm.list().map((entry) => entry.pm2_env.status);

      // By hand, behind systemd's back.
      pm.run('kill');
      found.killed = until('the unit is down', () => {
        const { said } = systemctl('is-active', unit);
        return !['active', 'deactivating'].includes(said) && said;
      });
      systemctl('start', unit);

      const kept = pids(pm);
      found.unstartup = root.run('unstartup', '-u', user, '--hp', path.dirname(pm.home));
      found.enabled = systemctl('is-enabled', unit).said;
      found.file = existsSync(`/etc/systemd/system/${unit}`);
      found.kept = JSON.stringify(kept) === JSON.stringify(pids(pm));
      return found;
    },
  ]),
);

const again = existsSync('/var/lib/tried');
const results = inTurn(again ? second : first);
writeFileSync('/srv/results.json', JSON.stringify(results, null, 1));

// Runs inside the machine of lib/machine.ts, as root: starts apps with limits, and writes down what became of them.
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { inTurn, manager, read, until } from './common.mjs';

const NOBODY = 65534;
const TOP = '/sys/fs/cgroup';

const APPS = {
  fits: `setInterval(() => {}, 1000);`,
  // More and more, and all of it used.
  hog: `const all = []; setInterval(() => all.push(Buffer.alloc(8 << 20, 1)), 20);`,
  forks: `const { spawn } = require('child_process');
    let refused = 0;
    for (let n = 0; n < 40; n++) spawn('sleep', ['1000']).on('error', (error) => {
      refused += 1;
      if (refused === 1) console.log('refused', error.code);
    });
    setInterval(() => {}, 1000);`,
  busy: `for (;;);`,
  // The one that is killed is not the one that is watched.
  parent: `const { spawn } = require('child_process');
    const child = spawn(process.execPath, ['-e', 'const all = []; setInterval(() => all.push(Buffer.alloc(8 << 20, 1)), 20)']);
    child.on('exit', (code, signal) => { console.error('child ended by', signal); process.exit(3); });`,
};
for (const [name, text] of Object.entries(APPS)) writeFileSync(`/tmp/${name}.js`, text);
const define = (name, limits, more = {}) => ({
  name,
  script: `/tmp/${name}.js`,
  limits,
  max_restarts: 0,
  ...more,
});
function configure(file, ...apps) {
  writeFileSync(file, JSON.stringify({ apps }));
  return file;
}

function files(cgroup) {
  const names = ['memory.max', 'memory.high', 'cpu.max', 'cpu.weight', 'pids.max'];
  return Object.fromEntries(names.map((name) => [name, read(path.join(cgroup, name))]));
}

const steps = {
  root(pm) {
    const all = { memory_max: '200M', memory_high: '150M', cpu_max: '50%', cpu_weight: 42, pids_max: 64 };
    const file = configure('/tmp/fits.json', define('fits', all), {
      ...define('free'),
      script: '/tmp/fits.js',
      limits: undefined,
    });
    const started = pm.run('start', file);
    const entry = pm.app('fits');
    const cgroup = entry?.limits?.cgroup;
    const found = {
      started,
      limits: entry?.limits,
      files: cgroup && files(cgroup),
      own: read(`/proc/${entry?.pid}/cgroup`),
      free: read(`/proc/${pm.app('free')?.pid}/cgroup`),
      monit: entry?.monit,
      describe: pm.run('describe', 'fits').stdout,
      doctor: pm.run('doctor', '--json').stdout,
    };
    // A new life has a new one, and the old one goes.
    pm.run('restart', 'fits');
    const next = pm.app('fits').limits.cgroup;
    until('the former cgroup is removed', () => !existsSync(cgroup));
    found.another = next !== cgroup && existsSync(next);
    // It outlives the daemon.
    const before = pm.app('fits').pid;
    process.kill(Number(read(`${pm.home}/pm2.pid`)), 'SIGKILL');
    const after = until('the next daemon', () => pm.app('fits'));
    found.survived = [
      after.pid === before,
      after.limits?.cgroup === next,
      read(`/proc/${before}/cgroup`)?.includes('fits.'),
    ];
    pm.run('delete', 'fits');
    until('its cgroup is removed', () => !existsSync(next));
    return found;
  },
  hog(pm) {
    pm.run('start', configure('/tmp/hog.json', define('hog', { memory_max: '64M' }, { autorestart: false })));
    until('it is killed', () => pm.app('hog').pm2_env.status !== 'online');
    return JSON.parse(
      until(
        'a report',
        () =>
          pm.run('crashes', 'hog', '--json').stdout.length > 5 && pm.run('crashes', 'last', '--json').stdout,
      ),
    );
  },
  parent(pm) {
    pm.run(
      'start',
      configure('/tmp/parent.json', define('parent', { memory_max: '96M' }, { autorestart: false })),
    );
    until('it ends', () => pm.app('parent').pm2_env.status !== 'online');
    return JSON.parse(
      until(
        'a report',
        () =>
          pm.run('crashes', 'parent', '--json').stdout.length > 5 &&
          pm.run('crashes', 'last', '--json').stdout,
      ),
    );
  },
  forks(pm) {
    pm.run('start', configure('/tmp/forks.json', define('forks', { pids_max: 24 })));
    const said = until('it is refused', () => read(`${pm.home}/logs/forks-out.log`));
    const cgroup = pm.app('forks').limits.cgroup;
    const found = {
      said,
      current: Number(read(`${cgroup}/pids.current`)),
      events: read(`${cgroup}/pids.events`),
    };
    pm.run('delete', 'forks');
    until('its cgroup is removed', () => !existsSync(cgroup));
    return found;
  },
  busy(pm) {
    pm.run('start', configure('/tmp/busy.json', define('busy', { cpu_max: 0.1 })));
    const cgroup = pm.app('busy').limits.cgroup;
    const stat = () =>
      Object.fromEntries(
        read(`${cgroup}/cpu.stat`)
          .split('\n')
          .map((line) => line.split(' ')),
      );
    const throttled = until('it is held back', () => Number(stat().nr_throttled) > 3 && stat());
    pm.run('delete', 'busy');
    return throttled;
  },
  /** As systemd does it for a unit with `User=` and `Delegate=yes`. */
  delegated() {
    const unit = `${TOP}/unit.service`;
    for (const name of ['memory', 'cpu', 'pids']) writeFileSync(`${TOP}/cgroup.subtree_control`, `+${name}`);
    mkdirSync(unit);
    for (const file of ['.', 'cgroup.procs', 'cgroup.subtree_control', 'cgroup.threads'])
      chownSync(path.join(unit, file), NOBODY, NOBODY);
    execFileSync('python3', ['-c', `import os; os.setxattr(${JSON.stringify(unit)}, 'user.delegate', b'1')`]);
    mkdirSync('/tmp/user');
    chownSync('/tmp/user', NOBODY, NOBODY);
    const pm = manager('/tmp/user/home', [
      'sh',
      '-c',
      `echo $$ >${unit}/cgroup.procs; exec setpriv --reuid ${NOBODY} --regid ${NOBODY} --clear-groups "$@"`,
      'sh',
    ]);
    const started = pm.run(
      'start',
      configure('/tmp/user.json', define('fits', { memory_max: '100M', pids_max: 50 })),
    );
    const entry = pm.app('fits');
    const found = {
      started,
      limits: entry?.limits,
      files: entry?.limits?.cgroup && files(entry.limits.cgroup),
      own: read(`/proc/${entry?.pid}/cgroup`),
      daemon: read(`/proc/${read('/tmp/user/home/pm2.pid')}/cgroup`),
    };
    pm.run('kill');
    return found;
  },
  notDelegated() {
    mkdirSync('/tmp/guest');
    chownSync('/tmp/guest', NOBODY, NOBODY);
    const pm = manager('/tmp/guest/home', [
      'setpriv',
      '--reuid',
      String(NOBODY),
      '--regid',
      String(NOBODY),
      '--clear-groups',
    ]);
    return unheld(pm);
  },
  noHierarchy() {
    execFileSync('umount', [TOP]);
    const pm = manager('/tmp/bare');
    return unheld(pm);
  },
};

/** The app runs, and it is told once that its limits do not hold. */
function unheld(pm) {
  const file = configure('/tmp/unheld.json', define('fits', { memory_max: '100M' }));
  const started = pm.run('start', file);
  pm.run('restart', 'fits');
  const entry = pm.app('fits');
  const found = {
    started,
    status: entry?.pm2_env.status,
    limits: entry?.limits,
    told: read(`${pm.home}/pm2.log`)
      ?.split('\n')
      .filter((line) => line.includes('without limits')),
    describe: pm.run('describe', 'fits').stdout,
    doctor: pm.run('doctor').stdout,
  };
  pm.run('kill');
  return found;
}

const pm = manager('/tmp/home');
const results = inTurn(steps, pm);
pm.run('kill');
results.left = readdirSync('/proc').filter(
  (pid) => /^\d+$/.test(pid) && read(`/proc/${pid}/comm`) === 'pm2',
).length;
writeFileSync('/srv/results.json', JSON.stringify(results, null, 1));

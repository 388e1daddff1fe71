// Restarts when files change. The original looks at the files some time after it has started an app, and says nowhere when: so tests
// change a file again and again until something follows, and what must not follow is told by the order in the daemon's log.
import { appendFileSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
/** The app's folder. Apart from the manager's home, whose logs would be changes. */
let dir: string;
let script: string;
beforeEach(() => {
  pm = new Manager();
  dir = path.join(pm.dir, 'app');
  mkdirSync(dir);
  script = path.join(dir, 'app.js');
  writeFileSync(script, 'setInterval(() => {}, 1000);\n');
});
afterEach(() => pm.dispose());

const at = (...parts: string[]) => path.join(dir, ...parts);
const config = (app: object) => {
  const file = path.join(pm.dir, 'eco.json');
  writeFileSync(file, JSON.stringify({ apps: [{ name: 'app', script, cwd: dir, ...app }] }));
  return file;
};
/** The paths whose change led to a restart, as the daemon's log tells them. */
const reasons = () =>
  [...pm.file('pm2.log').matchAll(/Change detected on path (\S+) for app/g)].map((found) => found[1]);
const watch = async () => (await pm.app('app')).pm2_env.watch;
const restarts = async () => (await pm.app('app')).pm2_env.restart_time;

/** Does this, every half second, until the app was restarted because of `reason`. */
async function restartsAfter(reason: string, change: () => void) {
  let next = 0;
  await until(`a restart because of ${reason}`, () => {
    if (Date.now() >= next) {
      change();
      next = Date.now() + 500;
    }
    return reasons().includes(reason);
  });
}
const touch = (file: string) => () => appendFileSync(at(file), '\n');

describe('what is watched', () => {
  test('a change of a watched file restarts the app', async () => {
    await pm.ok('start', script, '--cwd', dir, '--watch');
    const { pid } = await pm.app('app');
    await restartsAfter('app.js', touch('app.js'));
    await until('another process', async () => (await pm.app('app')).pid !== pid);
    expect(await restarts()).toBeGreaterThan(0);
    expect(await watch()).toBe(true);
  });

  test('only the named paths, and not what is ignored', async () => {
    mkdirSync(at('server/tmp'), { recursive: true });
    mkdirSync(at('client'));
    await pm.ok(
      'start',
      config({ watch: ['server', 'client/*.js'], ignore_watch: ['server/tmp', 'server/*.log'] }),
    );
    expect((await pm.app('app')).pm2_env).toMatchObject({
      watch: ['server', 'client/*.js'],
      ignore_watch: ['server/tmp', 'server/*.log'],
    });
    await restartsAfter('server/a.js', () => {
      for (const file of ['app.js', 'server/tmp/a.js', 'server/a.log', 'client/a.css', 'server/a.js'])
        touch(file)();
    });
    await restartsAfter('client/b.js', () => {
      for (const file of ['app.js', 'server/tmp/a.js', 'server/a.log', 'client/a.css', 'client/b.js'])
        touch(file)();
    });
    expect(new Set(reasons())).toEqual(new Set(['server/a.js', 'client/b.js']));
  });

  test('hidden files and node_modules are left out; new folders, removed files and links count', async () => {
    mkdirSync(at('node_modules/x'), { recursive: true });
    mkdirSync(path.join(pm.dir, 'shared'));
    symlinkSync(path.join(pm.dir, 'shared'), at('lib'));
    await pm.ok('start', script, '--cwd', dir, '--watch');
    await restartsAfter('app.js', () => {
      for (const file of ['.env', 'node_modules/x/index.js', 'app.js']) touch(file)();
    });
    let n = 0;
    await restartsAfter('new/deep/b.js', () => {
      mkdirSync(at('new/deep'), { recursive: true });
      touch('new/deep/b.js')();
    });
    await restartsAfter('lib/c.js', touch('lib/c.js'));
    await restartsAfter('new/deep/gone.js', () => {
      n += 1;
      writeFileSync(at('new/deep/gone.js'), `${n}`);
      if (n > 1) rmSync(at('new/deep/gone.js'));
    });
    expect(reasons().filter((reason) => /env|node_modules/.test(reason ?? ''))).toEqual([]);
  });

  onlyOurs('only files of some kinds, by --ext', async () => {
    writeFileSync(at('style.css'), '');
    // The files to ignore are looked for below the folder of the caller.
    await pm.ok('start', script, '--watch', '--ext', 'js,json', '--cwd', dir);
    const ignored: string[] = (await pm.app('app')).pm2_env.ignore_watch;
    expect(ignored).toContain(at('style.css'));
    expect(ignored).not.toContain(script);
    await restartsAfter('app.js', () => {
      touch('style.css')();
      touch('app.js')();
    });
    expect(reasons()).not.toContain('style.css');
  });

  test('by looking, where the kernel does not tell', async () => {
    await pm.ok('start', config({ watch: true, watch_options: { usePolling: true, interval: 100 } }));
    await restartsAfter('app.js', touch('app.js'));
  });
});

describe('who is restarted', () => {
  test('all processes of the name, and a stopped one among them is started', async () => {
    await pm.ok('start', config({ instances: 2, exec_mode: 'fork', watch: true }));
    const before = (await pm.list()).map((entry) => entry.pid);
    await restartsAfter('app.js', touch('app.js'));
    await until('both are others', async () => {
      const now = await pm.list();
      return now.length === 2 && now.every((entry) => entry.pid > 0 && !before.includes(entry.pid));
    });
  });

  test('an app that failed too often is started by the change that mends it', async () => {
    writeFileSync(script, 'process.exit(1);\n');
    await pm.run('start', config({ watch: true, max_restarts: 2 }));
    await pm.status('app', 'errored');
    await restartsAfter('app.js', () => writeFileSync(script, 'setInterval(() => {}, 1000);\n'));
    await pm.status('app', 'online');
  });
});

describe('on and off', () => {
  test('stop ends watching, restart leaves it so, the file turns it on again', async () => {
    const file = config({ watch: true });
    await pm.ok('start', file);
    expect(await watch()).toBe(true);
    await pm.ok('stop', 'app');
    expect(await watch()).toBe(false);
    await pm.ok('restart', 'app');
    expect(await watch()).toBe(false);
    await pm.ok('restart', file);
    expect(await watch()).toBe(true);
    await pm.ok('restart', 'all');
    expect(await watch()).toBe(true);
  });

  onlyOurs('what the list says is so: a file that turns it on again makes it work again', async () => {
    const file = config({ watch: true });
    await pm.ok('start', file);
    await pm.ok('stop', 'app');
    await pm.ok('restart', file);
    await restartsAfter('app.js', touch('app.js'));
  });

  test('restart --watch turns it off and on, stop --watch off', async () => {
    await pm.ok('start', script, '--cwd', dir, '--watch');
    await pm.ok('restart', 'app', '--watch');
    expect(await watch()).toBe(false);
    await pm.ok('restart', 'app', '--watch');
    expect(await watch()).toBe(true);
    await restartsAfter('app.js', touch('app.js'));
    await pm.status('app', 'online');
    await pm.ok('stop', 'app', '--watch');
    expect(await watch()).toBe(false);
    const log = pm.file('pm2.log');
    expect(log).toContain('[Watch] Stop watching app');
    expect(log).toContain('[Watch] Start watching app');
  });
});

describe('better than the original', () => {
  onlyOurs('a burst of changes, right after the start and by rename, is one restart', async () => {
    await pm.ok('start', config({ watch: true, watch_delay: 1500 }));
    for (let n = 0; n < 300; n += 1) {
      writeFileSync(at(`f${n}.tmp`), 'x');
      renameSync(at(`f${n}.tmp`), at(`f${n}.js`));
    }
    await until('a restart', async () => (await restarts()) > 0);
    // Whatever else was to come would come before the next one.
    touch('app.js')();
    await until('the second', () => reasons().includes('app.js'));
    await until('the second', async () => (await restarts()) > 1);
    expect(await restarts()).toBe(2);
    expect(reasons()).toHaveLength(2);
  });

  onlyOurs('an app that writes files as it ends is restarted once', async () => {
    writeFileSync(
      script,
      `process.on('SIGINT', () => { require('fs').writeFileSync('state.json', String(process.pid)); process.exit(0); });
setInterval(() => {}, 1000);\n`,
    );
    await pm.ok('start', script, '--cwd', dir, '--watch');
    for (const file of ['one.js', 'two.js']) await restartsAfter(file, touch(file));
    expect(reasons()).not.toContain('state.json');
  });

  onlyOurs('logs beside the app are no change', async () => {
    writeFileSync(script, 'setInterval(() => console.log("tick"), 20);\n');
    await pm.ok('start', config({ watch: true, out_file: 'app.log', log_file: 'all.log' }));
    await restartsAfter('other.js', touch('other.js'));
    expect(new Set(reasons())).toEqual(new Set(['other.js']));
  });

  onlyOurs('a daemon that dies goes on watching, and sees what changed meanwhile', async () => {
    await pm.ok('start', script, '--cwd', dir, '--watch');
    const { pid } = await pm.app('app');
    const former = pm.daemonPid();
    process.kill(former, 'SIGSTOP');
    appendFileSync(script, '\n');
    process.kill(former, 'SIGKILL');
    await until('another process', async () => {
      const entry = await pm.app('app');
      return entry.pid > 0 && entry.pid !== pid;
    });
    expect(pm.daemonPid()).not.toBe(former);
    expect(reasons()).toEqual(['app.js']);
  });

  onlyOurs('what cannot be watched is told where people look', async () => {
    await pm.ok('start', config({ watch: true, ignore_watch: ['!(src)/x'], watch_options: { odd: 1 } }));
    const told = await until('a warning', async () => {
      const { stderr } = await pm.ok('list');
      return stderr.includes('is not watched') && stderr;
    });
    expect(told).toContain('[PM2][WARN] App app is not watched as it should be: the pattern');
    expect(pm.file('pm2.log')).toContain('no effect here has watch_options.odd');
  });
});

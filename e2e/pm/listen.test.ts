// Sockets of the configuration: bound once, handed to each process of the app, whatever language it is written in.
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect } from 'vitest';
import { type Load, load } from '../lib/load.ts';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

function write(config: Record<string, unknown>): string {
  const file = path.join(pm.dir, 'eco.json');
  const app = { name: 'web', instances: 2, exec_mode: 'fork', wait_ready: true, kill_timeout: 8000 };
  writeFileSync(file, JSON.stringify({ apps: [{ ...app, ...config }] }));
  return file;
}

const pids = async () => (await pm.list()).map((entry) => entry.pid);
const total = (failures: Record<string, number>) => Object.values(failures).reduce((sum, n) => sum + n, 0);
const refused = (failures: Record<string, number>) =>
  Object.keys(failures).filter((why) => why.startsWith('ECONNREFUSED'));

/** Runs `during` under load of new connections, and says what became of the requests. */
async function underLoad(target: number | string, during: (load: Load) => Promise<void>) {
  const clients = load(target);
  try {
    await until('two processes answer', () => Object.keys(clients.seen.byPid).length >= 2);
    await during(clients);
    const before = clients.seen.ok;
    await until('it goes on', () => clients.seen.ok > before + 50);
  } finally {
    await clients.stop();
  }
  return clients.seen;
}

/** Reloads, crashes and the death of the daemon, all under load. */
const serves = (script: string) => async () => {
  const port = await freePort();
  const sockets = [{ listen: `tcp:127.0.0.1:${port}`, name: 'http' }];
  await pm.ok('start', write({ script: path.join(apps, script), sockets, env: { DELAY: 20 } }));
  const first = await pids();
  const reloads = await underLoad(port, async () => {
    await pm.ok('reload', 'web');
    const old = pm.daemonPid();
    process.kill(old, 'SIGKILL');
    await until('a successor', () => pm.daemonPid() !== old);
    await pm.ok('reload', 'web');
  });
  expect(reloads.failures).toEqual({});
  const third = await pids();
  for (const pid of third) expect(first).not.toContain(pid);
  expect(Object.keys(reloads.byPid).length).toBe(6);

  const crashes = await underLoad(port, async (clients) => {
    for (const pid of third) process.kill(pid, 'SIGKILL');
    await until('others answer', () =>
      Object.keys(clients.seen.byPid).some((pid) => !third.includes(Number(pid))),
    );
  });
  expect(refused(crashes.failures)).toEqual([]);
  expect(total(crashes.failures)).toBeLessThanOrEqual(12);

  await pm.ok('stop', 'web');
  await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
};

describe('no connection is refused', () => {
  onlyOurs('to a Python server', serves('inherits.py'));
  onlyOurs('to a Node server that is no cluster worker', serves('inherits.js'));

  onlyOurs('to cluster workers that ask for a socket by its number', async () => {
    const port = await freePort();
    const script = path.join(apps, 'inherits.js');
    await pm.ok(
      'start',
      write({ script, exec_mode: 'cluster', sockets: [`127.0.0.1:${port}`], env: { DELAY: 20 } }),
    );
    const seen = await underLoad(port, () => pm.ok('reload', 'web').then(() => {}));
    expect(seen.failures).toEqual({});
  });

  onlyOurs('to a UNIX socket, which is removed with the app', async () => {
    const sockets = [{ listen: 'unix:web.sock', mode: '0600' }];
    await pm.ok('start', write({ script: path.join(apps, 'inherits.js'), sockets, cwd: pm.dir }));
    const file = path.join(pm.dir, 'web.sock');
    const seen = await underLoad(file, () => pm.ok('restart', 'web').then(() => {}));
    expect(refused(seen.failures)).toEqual([]);
    await pm.ok('delete', 'web');
    await until('it is removed', () => !existsSync(file));
  });
});

describe('what can not be', () => {
  onlyOurs('an address that makes no sense is named', async () => {
    const outcome = await pm.run(
      'start',
      write({ script: path.join(apps, 'inherits.js'), sockets: ['tcp:localhost'] }),
    );
    expect(outcome.code).toBe(1);
    expect(outcome.stdout + outcome.stderr).toContain('sockets[0]: "localhost" is no address');
  });

  onlyOurs('a port that is taken is said in the log, and the app is errored', async () => {
    const port = await freePort();
    await pm.ok('start', write({ script: path.join(apps, 'inherits.js'), sockets: [port] }));
    await pm.run('start', write({ name: 'late', script: path.join(apps, 'inherits.js'), sockets: [port] }));
    await pm.status('late', 'errored');
    expect(pm.file('pm2.log')).toContain(`listening on tcp:*:${port}`);
  });

  onlyOurs('unless both say that they share it', async () => {
    const port = await freePort();
    const sockets = [{ listen: port, reuse_port: true }];
    for (const name of ['one', 'two']) {
      await pm.ok('start', write({ name, script: path.join(apps, 'inherits.js'), sockets, instances: 1 }));
    }
    await underLoad(port, async () => {});
  });
});

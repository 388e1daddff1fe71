// Cluster mode under load: what is begun is answered, through reloads and deaths.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { answersOf, startCluster } from '../lib/cluster.ts';
import { type Load, load } from '../lib/load.ts';
import { Manager } from '../lib/manager.ts';
import { parentOf } from '../lib/scratch.ts';
import { apps, onlyOurs, underTest } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const start = (config: Record<string, unknown>, env: Record<string, unknown> = {}) =>
  startCluster(pm, config, env);
/** Where one may trace what one has not started oneself. */
const mayTrace = () => {
  const scope = '/proc/sys/kernel/yama/ptrace_scope';
  return process.getuid?.() === 0 || !existsSync(scope) || readFileSync(scope, 'utf8').trim() === '0';
};
const traced = test.runIf(underTest === 'ours' && mayTrace());
const pids = async () => (await pm.list()).map((entry) => entry.pid);

/** Runs `during` under load, and says what became of the requests. */
async function underLoad(port: number, keepAlive: boolean, during: (load: Load) => Promise<void>) {
  await answersOf(port, 2);
  const clients = load(port, { keepAlive });
  try {
    await until('the load runs', () => clients.seen.ok > 50);
    await during(clients);
    const before = clients.seen.ok;
    await until('it goes on', () => clients.seen.ok > before + 50);
  } finally {
    await clients.stop();
  }
  return clients.seen;
}

const reloads = (policy: string, keepAlive: boolean) => async () => {
  const port = await start({}, { DELAY: 40, NODE_CLUSTER_SCHED_POLICY: policy });
  const before = await pids();
  const seen = await underLoad(port, keepAlive, async () => {
    await pm.ok('reload', 'web');
    await pm.ok('reload', 'web');
  });
  expect(seen.failures).toEqual({});
  for (const pid of await pids()) expect(before).not.toContain(pid);
  // Each generation has served.
  expect(Object.keys(seen.byPid).length).toBeGreaterThan(3);
};

describe('no request is lost', () => {
  onlyOurs('in reloads, of new connections', reloads('rr', false));
  onlyOurs('in reloads, of kept connections', reloads('rr', true));
  onlyOurs('in reloads, of new connections, where workers accept by themselves', reloads('none', false));
  onlyOurs('in reloads, of kept connections, where workers accept by themselves', reloads('none', true));

  onlyOurs('when the instances become more and fewer', async () => {
    const port = await start({}, { DELAY: 20 });
    const seen = await underLoad(port, false, async () => {
      await pm.ok('scale', 'web', '4');
      await answersOf(port, 4);
    });
    expect(seen.failures).toEqual({});
  });

  onlyOurs('when the daemon is killed, and not one is refused when all workers are', async () => {
    const port = await start({}, { DELAY: 20 });
    const before = await pids();
    const old = pm.daemonPid();
    const seen = await underLoad(port, true, async () => {
      process.kill(old, 'SIGKILL');
      await until('a successor', () => pm.daemonPid() !== old);
      await pm.ok('ping');
    });
    expect(seen.failures).toEqual({});
    expect(await pids()).toEqual(before);

    const again = await underLoad(port, false, async (clients) => {
      for (const pid of before) process.kill(pid, 'SIGKILL');
      await until('others answer', () =>
        Object.keys(clients.seen.byPid).some((pid) => !before.includes(Number(pid))),
      );
    });
    // Those that were being answered are lost with their worker; nobody finds a closed door.
    expect(Object.keys(again.failures).filter((why) => why.startsWith('ECONNREFUSED'))).toEqual([]);
    expect(Object.values(again.failures).reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(12);
  });

  onlyOurs(
    'when the daemon is killed again and again among new connections, at whatever instruction',
    async () => {
      const port = await start({}, { DELAY: 2 });
      const seen = await underLoad(port, false, async () => {
        for (let round = 0; round < 6; round += 1) {
          const old = pm.daemonPid();
          process.kill(old, 'SIGKILL');
          await until('a successor', () => pm.daemonPid() !== old);
          await pm.ok('ping');
        }
      });
      expect(seen.failures).toEqual({});
    },
    60_000,
  );

  traced('when the daemon is killed between accepting a connection and sending it to a worker', async () => {
    const port = await start({});
    const seen = await underLoad(port, false, async (clients) => {
      for (let round = 0; round < 4; round += 1) {
        const old = pm.daemonPid();
        // What it sends with sendmsg are connections, mostly: it dies at the call, with one in hand that no worker has.
        const words = ['-q', '-o', '/dev/null', '-p', String(old), '-e', 'trace=sendmsg'];
        const tracer = spawn('strace', [...words, '-e', `inject=sendmsg:signal=KILL:when=${40 + round}`]);
        await once(tracer, 'exit');
        await until('a successor', () => pm.daemonPid() !== old);
        await pm.ok('ping');
        const before = clients.seen.ok;
        await until('it goes on', () => clients.seen.ok > before + 50);
      }
    });
    expect(seen.failures).toEqual({});
  });

  onlyOurs('when the keeper is killed, and then the daemon', async () => {
    const port = await start({}, { DELAY: 20 });
    const before = await pids();
    const keeper = parentOf(pm.daemonPid());
    const seen = await underLoad(port, true, async () => {
      process.kill(keeper, 'SIGKILL');
      await until('another keeper', () => {
        const now = readFileSync(path.join(pm.home, 'pm2.log'), 'utf8');
        return now.includes('starting another keeper');
      });
      await pm.ok('ping');
      const old = pm.daemonPid();
      process.kill(old, 'SIGKILL');
      await until('a successor', () => pm.daemonPid() !== old);
      await pm.ok('ping');
    });
    expect(seen.failures).toEqual({});
    expect(await pids()).toEqual(before);
    await answersOf(port, 2);
  });

  onlyOurs('when the daemon is killed in the middle of a reload', async () => {
    const port = await start({}, { DELAY: 100 });
    const before = await pids();
    const seen = await underLoad(port, true, async () => {
      const reload = pm.run('reload', 'web');
      await until('the reload has begun', () =>
        /being retired/.test(readFileSync(path.join(pm.home, 'pm2.log'), 'utf8')),
      );
      const old = pm.daemonPid();
      process.kill(old, 'SIGKILL');
      await until('a successor', () => pm.daemonPid() !== old);
      await reload;
      // The successor completes what was begun; only then it takes the next one.
      await until('another reload', async () => (await pm.run('reload', 'web', '--force')).code === 0);
      await until('the old ones are gone', async () => !(await pids()).some((pid) => before.includes(pid)));
    });
    expect(seen.failures).toEqual({});
    expect((await pm.list()).map((entry) => entry.pm2_env.status)).toEqual(['online', 'online']);
  });

  onlyOurs('and a worker that does not come up does not replace one that serves', async () => {
    const script = path.join(pm.dir, 'app.js');
    writeFileSync(script, readFileSync(path.join(apps, 'cluster.js')));
    const port = await start({ script });
    await answersOf(port, 2);
    const before = await pids();
    writeFileSync(script, 'process.exit(1);');
    const seen = await underLoad(port, false, async () => {
      expect((await pm.run('reload', 'web')).code).not.toBe(0);
    });
    expect(seen.failures).toEqual({});
    expect(await pids()).toEqual(before);
  });
});

// Health checks: ours alone. They are looked at by the real daemon, and gate readiness, restarts and what lists show.
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const eco = (...list: object[]) => {
  const file = path.join(pm.dir, 'eco.json');
  writeFileSync(
    file,
    JSON.stringify({ apps: list.map((entry) => ({ script: path.join(apps, 'readiness.cjs'), ...entry })) }),
  );
  return file;
};
const quick = { interval: 100, retries: 2, timeout: '5s' };
const health = async (name: string) =>
  ((await pm.app(name)) as unknown as { health?: { status: string; reason?: string } }).health;

describe('a health check', () => {
  onlyOurs('by HTTP restarts what is not well, and says why', async () => {
    const port = await freePort();
    const sick = path.join(pm.dir, 'sick');
    const env = { PORT: port, SICK_FILE: sick };
    await pm.ok('start', eco({ name: 'api', env, health: { http: '/live', ...quick } }));
    await until('it is healthy', async () => (await health('api'))?.status === 'healthy');
    const { pid } = await pm.app('api');
    expect((await pm.ok('describe', 'api')).stdout).toMatch(/health\s+│ healthy/);
    writeFileSync(sick, '');
    const after = await until('it was restarted', async () => {
      const app = await pm.app('api');
      return app.pid !== pid && app.pid > 0 && app;
    });
    expect(after.pm2_env.restart_time).toBeGreaterThan(0);
    rmSync(sick);
    expect(pm.file('pm2.log')).toMatch(
      /App \[api:0\] is unhealthy: asking http:\/\/127.0.0.1:\d+\/live: status 503/,
    );
    await until('it is well again', async () => (await health('api'))?.status === 'healthy');
  });

  onlyOurs('with on_failure none is only shown', async () => {
    const check = { command: 'echo no room on the disk >&2; exit 3', ...quick, on_failure: 'none' };
    await pm.ok('start', eco({ name: 'api', health: check }));
    const seen = await until('it is unhealthy', async () => {
      const now = await health('api');
      return now?.status === 'unhealthy' && now;
    });
    expect(seen.reason).toContain('code 3: no room on the disk');
    expect((await pm.ok('list')).stdout).toContain('unhealthy');
    expect((await pm.app('api')).pm2_env).toMatchObject({ status: 'online', restart_time: 0 });
  });

  onlyOurs('goes on after the daemon has died', async () => {
    const port = await freePort();
    await pm.ok('start', eco({ name: 'api', env: { PORT: port }, health: { tcp: port, ...quick } }));
    await until('it is healthy', async () => (await health('api'))?.status === 'healthy');
    const { pid } = await pm.app('api');
    process.kill(pm.daemonPid(), 'SIGKILL');
    await until(
      'it is healthy under the next daemon',
      async () => (await health('api'))?.status === 'healthy',
    );
    expect((await pm.app('api')).pid).toBe(pid);
  });

  onlyOurs('that is written wrongly is named before anything starts', async () => {
    const { code, stderr } = await pm.run(
      'start',
      eco({ name: 'api', health: { http: 'https://x/', tcp: 1 } }),
    );
    expect(code).toBe(1);
    expect(stderr).toContain('Verify "health" failed: it needs exactly one of http, tcp and command');
    expect(await pm.list()).toEqual([]);
  });
});

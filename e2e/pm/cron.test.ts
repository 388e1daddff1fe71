// Restarts by the clock. Patterns with seconds come every second or two, so that nobody waits for minutes.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { apps, onlyOurs, underTest } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const script = path.join(apps, 'prints.js');
const EACH_SECOND = '* * * * * *';
/**
 * For what is done between two restarts: the original loses a stop, a delete or another pattern that comes while one
 * is under way. `hasRestarted` tells when there is time.
 */
const EACH_FEW = '*/4 * * * * *';
/** Never in the time of a test. */
const YEARLY = '0 0 29 2 *';
const config = (app: object) => {
  const file = path.join(pm.dir, 'eco.json');
  writeFileSync(file, JSON.stringify({ apps: [{ name: 'prints', script, ...app }] }));
  return file;
};
const env = async () => (await pm.app('prints')).pm2_env;
const anotherPid = (than: number) =>
  until('another process', async () => {
    const { pid } = await pm.app('prints');
    return pid > 0 && pid !== than && pid;
  });
const hasRestarted = async () => {
  const { restart_time: before } = await env();
  await until('a restart', async () => (await env()).restart_time > before);
  await pm.status('prints', 'online');
};

describe('patterns', () => {
  test('a cron pattern restarts the app', async () => {
    const { stdout } = await pm.ok('start', script, '--cron-restart', EACH_SECOND);
    expect(stdout).toContain(`cron restart at ${EACH_SECOND}`);
    expect(await env()).toMatchObject({ cron_restart: EACH_SECOND });
    const first = await anotherPid((await pm.app('prints')).pid);
    await anotherPid(first);
    expect((await env()).restart_time).toBeGreaterThan(1);
  });

  test('0 ends it, from the command line and from a file', async () => {
    await pm.ok('start', config({ cron_restart: EACH_FEW }));
    await hasRestarted();
    const { stdout } = await pm.ok('restart', 'prints', '--cron-restart', '0');
    expect(stdout).toContain('disabling cron restart');
    expect(Number((await env()).cron_restart ?? 0)).toBe(0);
    const { pid } = await pm.app('prints');
    // One of its times passes.
    await new Promise((resolve) => setTimeout(resolve, 4100));
    expect((await pm.app('prints')).pid).toBe(pid);
    await pm.ok('restart', config({ cron_restart: EACH_FEW }));
    await hasRestarted();
    await pm.ok('restart', config({ cron_restart: underTest === 'theirs' ? '0' : 0 }));
    expect(Number((await env()).cron_restart ?? 0)).toBe(0);
  });

  test('a pattern that cannot be read is an error that names it, and nothing is started', async () => {
    for (const pattern of ['* * *', 'a b c d e', '61 * * * *', '* * * * * * *']) {
      const { code, stdout, stderr } = await pm.run('start', script, '--cron-restart', pattern);
      const said = stdout + stderr;
      expect(code).toBe(1);
      expect(said).toContain('Cron pattern error');
      expect(said).toContain(
        pattern === 'a b c d e' || pattern.startsWith('61') ? pattern.split(' ')[0] : pattern,
      );
    }
    // In a file, too; the original does not say why.
    expect((await pm.run('start', config({ cron_restart: 'soon' }))).code).toBe(1);
    expect(await pm.list()).toEqual([]);
  });

  test('describe shows it', async () => {
    await pm.ok('start', script, '--cron', YEARLY);
    expect((await pm.ok('describe', 'prints')).stdout).toMatch(/cron restart\s+│ 0 0 29 2 \*/);
    await pm.ok('restart', 'prints');
    expect((await env()).cron_restart).toBe(YEARLY);
  });
});

describe('which processes', () => {
  test('a stopped one is started, and the command line warns of that', async () => {
    await pm.ok('start', script, '--cron-restart', EACH_FEW);
    await hasRestarted();
    const { stdout, stderr } = await pm.ok('stop', 'prints');
    expect(stdout + stderr).toContain(`App prints stopped but CRON RESTART is still UP ${EACH_FEW}`);
    await pm.status('prints', 'online');
  });

  test('a deleted one is not', async () => {
    await pm.ok('start', script, '--cron-restart', EACH_FEW);
    await hasRestarted();
    await pm.ok('delete', 'prints');
    await new Promise((resolve) => setTimeout(resolve, 4100));
    expect(await pm.list()).toEqual([]);
  });

  onlyOurs('one that is deleted while it restarts is not', async () => {
    for (let i = 0; i < 5; i++) {
      await pm.ok('start', script, '--cron-restart', EACH_SECOND, '--kill-timeout', '300');
      await new Promise((resolve) => setTimeout(resolve, 1000 - (Date.now() % 1000)));
      await pm.ok('delete', 'prints');
      expect(await pm.list()).toEqual([]);
    }
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect(await pm.list()).toEqual([]);
  });

  test('one that was saved and resurrected', async () => {
    await pm.ok('start', script, '--cron-restart', EACH_SECOND);
    await pm.ok('save');
    await pm.ok('kill');
    await pm.ok('resurrect');
    await until('a restart', async () => (await env()).restart_time > 0);
  });

  onlyOurs('the pattern outlives the daemon', async () => {
    await pm.ok('start', script, '--cron-restart', EACH_SECOND);
    const former = pm.daemonPid();
    process.kill(former, 'SIGKILL');
    await until('another daemon', () => pm.daemonPid() !== former);
    const before = (await env()).restart_time;
    await until('a restart', async () => (await env()).restart_time > before);
  });
});

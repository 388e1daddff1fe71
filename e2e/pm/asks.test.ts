// What is ours for those who ask: doctor, --json, help and manual.
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const app = (name: string) => path.join(apps, name);

interface Finding {
  state: string;
  area: string;
  text: string;
  mend: string | null;
}

async function findings(): Promise<Record<string, Finding>> {
  const { stdout } = await pm.run('doctor', '--json');
  const list: Finding[] = JSON.parse(stdout);
  // The worst of an area.
  const weight = (finding?: Finding) => ['ok', 'warning', 'error'].indexOf(finding?.state ?? '');
  const out: Record<string, Finding> = {};
  for (const finding of list) if (weight(finding) > weight(out[finding.area])) out[finding.area] = finding;
  return out;
}

onlyOurs('doctor starts no daemon and complains of none', async () => {
  const before = await findings();
  expect(before.home).toMatchObject({ state: 'ok' });
  expect(before.daemon).toMatchObject({ state: 'ok', mend: null });
  expect((await findings()).daemon?.text).toContain('none runs');
});

onlyOurs('doctor finds what is wrong and says what to do', async () => {
  await pm.ok('start', app('prints.js'));
  let found = await findings();
  expect(found.daemon).toMatchObject({ state: 'ok', text: `answers (pid ${pm.daemonPid()})` });
  expect(found.keeper).toMatchObject({ state: 'ok' });
  expect(found.dump).toMatchObject({ state: 'warning', mend: 'pm2 save' });
  await pm.ok('save');
  found = await findings();
  expect(found.dump).toMatchObject({ state: 'ok' });
  expect(found.apps).toMatchObject({ state: 'ok' });

  await pm.ok('start', app('exits.js'), '--name', 'broken', '--max-restarts', '2');
  await pm.status('broken', 'errored');
  writeFileSync(path.join(pm.home, 'dump.pm2'), '{');
  writeFileSync(path.join(pm.home, 'module_conf.json'), '[]');
  chmodSync(pm.home, 0o777);
  found = await findings();
  expect(found.apps).toMatchObject({ state: 'error', text: expect.stringContaining('broken') });
  expect(found.dump).toMatchObject({ state: 'error' });
  expect(found['module_conf.json']).toMatchObject({ state: 'error' });
  expect(found.home).toMatchObject({ state: 'warning', mend: `chmod go-w ${pm.home}` });
  const { code, stdout } = await pm.run('doctor');
  expect(code).toBe(1);
  expect(stdout).toMatch(/✗ apps +given up after too many restarts: broken\n +→ pm2 logs broken/);
  chmodSync(pm.home, 0o755);
});

onlyOurs('--json on the commands that read', async () => {
  const json = async (...args: string[]) => JSON.parse((await pm.ok(...args, '--json')).stdout);
  expect(await json('list')).toEqual([]);
  await pm.ok('start', app('prints.js'), '--name', 'one');
  const { pid } = await pm.app('one');
  expect(await json('list')).toMatchObject([{ name: 'one', pid, pm_id: 0 }]);
  expect(await json('describe', 'one')).toMatchObject([{ name: 'one', pm2_env: { status: 'online' } }]);
  expect(await json('env', '0')).toMatchObject({ PM2_HOME: pm.home });
  expect(await json('id', 'one')).toEqual([0]);
  expect(await json('pid', 'one')).toEqual([pid]);
  expect(await json('conf')).toEqual({});
  expect(await json('slist')).toBeTypeOf('object');
  // Complaints are still told, and not among the answers.
  const { code, stdout, stderr } = await pm.run('describe', 'nobody', '--json');
  expect([code, stdout]).toEqual([1, '']);
  expect(stderr).toContain("nobody doesn't exist");
});

onlyOurs('help has examples, and the manual has everything', async () => {
  const { stdout } = await pm.ok('scale', '--help');
  expect(stdout).toContain('Usage: pm2 scale <app_name> <number>');
  expect(stdout).toContain('$ pm2 scale api +2');
  const page = (await pm.ok('man')).stdout;
  expect(page).toMatch(/^\.TH PM2 1 /);
  for (const verb of ['start', 'apply', 'validate', 'doctor', 'startup'])
    expect(page).toContain(`\\fB${verb}`);
});

onlyOurs('a mistyped name is answered with the nearest one', async () => {
  mkdirSync(pm.home, { recursive: true });
  await pm.ok('start', app('prints.js'), '--name', 'worker');
  for (const words of [
    ['stop', 'wroker'],
    ['describe', 'worke'],
  ]) {
    const { code, stderr } = await pm.run(...words);
    expect(code).toBe(1);
    expect(stderr).toContain('did you mean worker?');
  }
});

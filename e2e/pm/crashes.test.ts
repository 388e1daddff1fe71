// Reports of crashes. PM2 has none.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const folder = () => path.join(pm.home, 'crashes');
const reports = (count: number) =>
  until(`${count} reports`, () => {
    const names = readdirSync(folder()).filter((name) => name.endsWith('.json'));
    return names.length >= count && names.sort();
  });
const read = (name: string) => JSON.parse(readFileSync(path.join(folder(), name), 'utf8'));
const script = (name: string, source: string) => {
  const file = path.join(pm.dir, name);
  writeFileSync(file, source);
  return file;
};

onlyOurs('a crash leaves a report with its last words, and no secret', async () => {
  const file = script(
    'dies.js',
    'for (let i = 1; i <= 300; i += 1) console.log("line " + i);\n' +
      // Pipes of node are written at once, so all of it is there when it ends.
      'console.error("about to die with " + process.env.MY_SECRET);\n' +
      'process.exit(7);\n',
  );
  process.env.MY_SECRET = 'hunter2hunter2';
  try {
    await pm.ok('start', file, '--no-autorestart', '--', '--api-token', 'abcdef', '--port=80');
  } finally {
    delete process.env.MY_SECRET;
  }
  const [name = ''] = await reports(1);
  const report = read(name);
  expect(report).toMatchObject({
    name: 'dies',
    pm_id: 0,
    exit: { code: 7, signal: null },
    oom: { killed: false },
    cwd: pm.dir,
    mode: 'fork',
  });
  expect(report.out).toEqual(Array.from({ length: 200 }, (_, i) => `line ${i + 101}`));
  expect(report.err).toEqual(['about to die with [redacted]']);
  expect(report.command.slice(1)).toEqual([file, '--api-token', '[redacted]', '--port=80']);
  expect(report.variables).toContain('MY_SECRET');
  expect(report.peak_memory).toBeGreaterThan(1_000_000);
  expect(report.cpu_ms).toBeGreaterThan(0);
  const text = readFileSync(path.join(folder(), name), 'utf8');
  expect(text).not.toContain('hunter2');
  expect(text).not.toContain('abcdef');
  expect(statSync(path.join(folder(), name)).mode & 0o777).toBe(0o600);
  expect(statSync(folder()).mode & 0o777).toBe(0o700);

  const shown = (await pm.ok('crashes', 'last')).stdout;
  expect(shown).toMatch(/^dies \(id 0, pid \d+\) ended by exit code 7 at /);
  expect(shown).toContain('last 20 of 200 lines of out:\n  line 281\n');
  expect((await pm.ok('crashes')).stdout).toMatch(/dies +│ 0 +│ exit code 7 /);
  const [listed] = JSON.parse((await pm.ok('crashes', 'dies', '--json')).stdout);
  expect(listed).toMatchObject({
    report: name.replace('.json', ''),
    app_name: 'dies',
    code: 7,
    signal: null,
  });
  expect(JSON.parse((await pm.ok('crashes', listed.report, '--json')).stdout)).toEqual(report);
  expect((await pm.ok('crashes', 'other')).stdout).toContain('There is no report of a crash of other');
});

onlyOurs('a kill from outside is a crash, with what the process took before; a stop is none', async () => {
  await pm.ok('start', path.join(apps, 'loop.py'));
  const first = (await pm.app('loop')).pid;
  // Somebody looks, and so does the daemon: each look is remembered.
  await until('memory is measured', async () => (await pm.app('loop')).monit.memory > 2_000_000);
  process.kill(first, 'SIGKILL');
  const [name = ''] = await reports(1);
  const report = read(name);
  expect(report).toMatchObject({
    pid: first,
    exit: { code: null, signal: 'SIGKILL' },
    restarts: 0,
    history: [],
  });
  expect(report.usage.length).toBeGreaterThan(0);
  expect(report.usage.at(-1).memory).toBeGreaterThan(1_000_000);
  const next = await until('a next life', async () => {
    const { pid } = await pm.app('loop');
    return pid !== first && pid !== 0 && pid;
  });
  process.kill(next, 'SIGSEGV');
  const second = read((await reports(2))[1] ?? '');
  expect(second).toMatchObject({ exit: { signal: 'SIGSEGV' }, history: [{ exit: { signal: 'SIGKILL' } }] });
  await pm.ok('restart', 'loop');
  await pm.ok('stop', 'loop');
  // What would have been written for these is written by now: the daemon writes them in order.
  await pm.ok('start', script('fails.sh', 'exit 3\n'), '--interpreter', 'bash', '--no-autorestart');
  await reports(3);
  expect((await reports(3)).map((file) => read(file).name)).toEqual(['loop', 'loop', 'fails']);
});

onlyOurs('codes that mean a wanted end are no crash, and a crash loop writes a bounded number', async () => {
  await pm.ok('start', script('fine.sh', 'exit 5\n'), '--interpreter', 'bash', '--stop-exit-codes', '5');
  await pm.status('fine', 'stopped');
  await pm.ok(
    'start',
    script('loops.sh', 'echo again; exit 1\n'),
    '--interpreter',
    'bash',
    '--max-restarts',
    '12',
  );
  await pm.status('loops', 'errored');
  const all = await reports(3);
  expect(all.length).toBeLessThanOrEqual(13);
  expect(new Set(all.map((file) => read(file).name))).toEqual(new Set(['loops']));
  const last = await until('the newest report knows the ends before it', () => {
    const newest = readdirSync(folder()).sort().at(-1);
    const report = newest?.endsWith('.json') && read(newest);
    return report && report.history.length > 2 && report;
  });
  expect(last.out).toContain('again');
});

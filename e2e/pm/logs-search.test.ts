// Looking for lines of the past by time and text, in older parts too. PM2 shows ends of files only.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
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

const log = (name: string) => path.join(pm.home, 'logs', name);
const search = async (...args: string[]) =>
  (await pm.ok('logs', ...args, '--nostream')).stdout.split('\n').filter((line) => line !== '');
/** A file of the home that looks to be from another time. */
const past = (name: string, text: string) => writeFileSync(log(name), text);

onlyOurs('--since and --until find lines by the time at which they were written', async () => {
  await pm.ok('start', path.join(apps, 'loop.py'));
  await until('lines', () => readFileSync(log('loop-out.log'), 'utf8').includes('python 25'));
  const all = await search('loop', '--since', '1h');
  expect(all[0]).toMatch(/^0\|loop +\| python 1$/);
  const json = (await search('loop', '--since', '1h', '--json')).map((line) => JSON.parse(line));
  expect(json[0]).toMatchObject({ message: 'python 1', type: 'out', process_id: 0, app_name: 'loop' });
  // Half of them are older than the second in the middle.
  const middle = json[Math.floor(json.length / 2)].timestamp;
  const before = await search(
    'loop',
    '--since',
    '1h',
    '--until',
    new Date(Date.parse(middle) - 1).toISOString(),
  );
  const after = await search('loop', '--since', middle);
  expect(before.length).toBeGreaterThan(0);
  expect([...before, ...after].slice(0, all.length)).toEqual(all);
  expect(await search('loop', '--until', '1h')).toEqual([]);
});

onlyOurs('--grep looks through older parts, compressed ones too', async () => {
  const config = path.join(pm.dir, 'app.config.json');
  const script = path.join(apps, 'counts.js');
  writeFileSync(
    config,
    JSON.stringify({ apps: [{ name: 'counts', script, logrotate: { max_size: '4K', retain: 'all' } }] }),
  );
  await pm.ok('start', config);
  await until(
    'compressed parts',
    () => readdirSync(log('')).filter((name) => name.endsWith('.gz')).length > 2,
  );
  await pm.ok('stop', 'counts');
  expect(await search('counts', '--grep', '^count [37] ')).toEqual([
    expect.stringMatching(/\| count 3 x+$/),
    expect.stringMatching(/\| count 7 x+$/),
  ]);
  // The end of the log goes back through its parts as well.
  const numbers = (await search('counts', '--lines', '200', '--raw'))
    .map((line) => /^count (\d+) /.exec(line)?.[1])
    .filter((number) => number !== undefined)
    .map(Number);
  expect(numbers.length).toBe(200);
  expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
});

onlyOurs(
  'lines of several apps come in the order of their time, with dates where there are no notes',
  async () => {
    await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'a', '-o', log('a.log'), '-e', '/dev/null');
    await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'b', '-o', log('b.log'), '-e', '/dev/null');
    await pm.ok('stop', 'all');
    past('a.log.1', '2020-01-01T00:00:01Z: one\n  more of one\n2020-01-01T00:00:03Z: three\n');
    past('b.log.1', '2020-01-01T00:00:02Z: two\n2020-01-01T00:00:04Z: four\n');
    const lines = await search(
      '/[ab]/',
      '--since',
      '2020-01-01T00:00:01Z',
      '--until',
      '2020-01-01T00:00:03Z',
      '--raw',
    );
    expect(lines.map((line) => line.replace(/^2020\S+ /, ''))).toEqual([
      'one',
      '  more of one',
      'two',
      'three',
    ]);
    const [pairs] = await search(
      'a',
      '--since',
      '2020-01-01',
      '--until',
      '2020-01-02',
      '--format',
      '--lines',
      '1',
    );
    expect(pairs).toMatch(/^timestamp=\S+ app=a id=0 type=out message=2020-01-01T00:00:03Z: three$/);
  },
);

onlyOurs('--grep holds for what comes, too', async () => {
  await pm.ok('start', path.join(apps, 'loop.py'));
  const logs = pm.follow('logs', 'loop', '--grep', '[13579]$', '--raw', '--lines', '0');
  await until('odd lines', () => logs.text().split('\n').length > 4);
  logs.end();
  for (const line of logs.text().trim().split('\n')) expect(line).toMatch(/^python \d*[13579]$/);
});

onlyOurs('what means nothing is told', async () => {
  for (const [option, value, text] of [
    ['--since', 'soon', '--since soon: say how long ago'],
    ['--until', '25:99', '--until 25:99: say how long ago'],
    ['--grep', '(', '--grep (: regex parse error'],
  ] as const) {
    const outcome = await pm.run('logs', option, value);
    expect(outcome.code).toBe(1);
    expect(outcome.stdout + outcome.stderr).toContain(text);
  }
});

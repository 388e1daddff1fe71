// What is told of the machine and of the manager itself: slist, report.
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

test('slist tells the figures of the host', async () => {
  await pm.ok('ping');
  const text = await until('the first figures', async () => {
    const { stdout } = await pm.ok('slist');
    return stdout.includes('RAM Total') && stdout;
  });
  for (const line of [
    /^ {2}'CPU Usage': { value: [\d.]+, type: 'metric', unit: '%', historic: true },$/m,
    /^ {2}'CPU Temperature': { value: -?[\d.]+, type: 'metric', unit: '°C', historic: true },$/m,
    /^ {2}'RAM Total': { value: \d+, type: 'metric', unit: 'b', historic: true },$/m,
    /^ {2}'net:rx_5:lo': { value: [\d.]+, type: 'metric', unit: 'mb\/s', historic: true },$/m,
    /^ {2}'net:tx_errors_60:lo': { value: [\d.]+, type: 'metric', unit: '\/min', historic: true },$/m,
    /^ {2}'Disk Writes': { value: [\d.]+, type: 'metric', unit: 'mb\/s', historic: true },?$/m,
  ]) {
    expect(text).toMatch(line);
  }
  const tree = (await pm.ok('sysinfos', '--tree')).stdout;
  expect(tree).toContain('├─ CPU Usage\n│  ├─ value: ');
  expect(tree).toContain('│  ├─ unit: %\n│  └─ historic: true\n├─ CPU Temperature\n');
});

test('report has what a helper asks for, between fences', async () => {
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'reported');
  const { stdout } = await pm.with(pm.program, ['report'], { env: { SECRET_OF_THE_CALLER: 'hunter2' } });
  expect(stdout.match(/^```$/gm)).toHaveLength(2);
  for (const head of ['PM2 report', 'Daemon', 'CLI', 'System info', 'PM2 list', 'Daemon logs']) {
    expect(stdout).toMatch(new RegExp(`^--- ${head} -+$`, 'm'));
  }
  for (const row of [
    /^Date +: \w{3} \w{3} \d{2} \d{4} \d{2}:\d{2}:\d{2} GMT/m,
    /^pm2d version +: 7\.0\.4$/m,
    /^uptime +: \d+min$/m,
    /^local pm2 +: 7\.0\.4$/m,
    /^cpus nb +: \d+$/m,
    /^totalmem +: \d+$/m,
    /│ reported +│/,
    /App \[reported:0\] online/,
  ]) {
    expect(stdout).toMatch(row);
  }
  expect(stdout).not.toContain('hunter2');
});

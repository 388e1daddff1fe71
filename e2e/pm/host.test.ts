// What is told of the machine and of the manager itself: slist, report, profiles of the daemon.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { Rpc } from '../lib/rpc.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
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

test('the figures can be switched off', async () => {
  await pm.ok('set', 'pm2:sysmonit', 'false');
  await pm.ok('kill');
  await pm.ok('start', path.join(apps, 'prints.js'));
  expect((await pm.ok('slist')).stdout).toBe('{}');
  expect((await pm.ok('list')).stdout).not.toContain('host metrics');
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

test('profile:cpu and profile:mem write what Chrome opens', async () => {
  await pm.ok('start', path.join(apps, 'prints.js'));
  const written = (ending: string) => {
    const name = readdirSync(pm.dir).find((entry) => entry.endsWith(ending)) as string;
    expect(name).toMatch(/^(Mo|Tu|We|Th|Fr|Sa|Su)-\d{2}:\d{2}:\d{2}\.\w+$/);
    return {
      file: path.join(pm.dir, name),
      profile: JSON.parse(readFileSync(path.join(pm.dir, name), 'utf8')),
    };
  };
  const cpu = await pm.ok('profile:cpu', '300');
  const { file, profile } = written('.cpuprofile');
  expect(cpu.stdout).toContain(`Starting profileCPU profiling for 300ms...\nProfile done in ${file}\n`);
  expect(profile.samples.length).toBe(profile.timeDeltas.length);
  expect(profile.nodes[0].callFrame.functionName).toBe('(root)');
  expect(profile.endTime - profile.startTime).toBeGreaterThan(200_000);
  expect((await pm.ok('profile:mem', '300')).stdout).toContain(
    'Starting profileMEM profiling for 300ms...\n',
  );
  expect(written('.heapprofile').profile.head.callFrame.functionName).toBe('(root)');
});

test('a profile that cannot be written is answered with the reason', async () => {
  await pm.ok('ping');
  const rpc = await Rpc.connect(pm);
  for (const method of ['profileCPU', 'profileMEM']) {
    const answer = await rpc.call(method, { pwd: '/no/such/folder/x.cpuprofile', timeout: 10 });
    expect(answer.error).toMatch(/no such file or directory|denied/i);
  }
  rpc.close();
});

onlyOurs('the CPU profile names what the daemon did, the heap profile what it holds', async () => {
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'held');
  const profile = pm.run('profile:cpu', '800');
  for (let n = 0; n < 5; n++) await pm.ok('jlist');
  expect((await profile).code).toBe(0);
  await pm.ok('profile:mem');
  const [cpu, heap] = ['.cpuprofile', '.heapprofile'].map((ending) => {
    const name = readdirSync(pm.dir).find((entry) => entry.endsWith(ending)) as string;
    return JSON.parse(readFileSync(path.join(pm.dir, name), 'utf8'));
  });
  // biome-ignore lint/suspicious/noExplicitAny: Chrome's own shape
  const names = cpu.nodes.map((node: any) => node.callFrame.functionName);
  expect(names).toContain('owner loop');
  expect(names).toContain('request getMonitorData');
  // biome-ignore lint/suspicious/noExplicitAny: Chrome's own shape
  const total = (node: any): number =>
    node.selfSize + node.children.map(total).reduce((a: number, b: number) => a + b, 0);
  expect(total(heap.head)).toBeGreaterThan(1_000_000);
  expect(JSON.stringify(heap)).toContain('"held:0"');
});

/** What the kernel counts of a process: ticks of 10 ms on a processor, and bytes in memory. */
function counted(pid: number) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const rss = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return { ticks: Number(fields[11]) + Number(fields[12]), rss: Number(rss?.[1]) * 1024, at: Date.now() };
}

test('figures of a process are those of the kernel', async () => {
  writeFileSync(
    path.join(pm.dir, 'half.js'),
    `const kept = Buffer.alloc(80 << 20, 1);
    setInterval(() => { for (const end = Date.now() + 25; Date.now() < end; ) kept[0]++; }, 50);`,
  );
  await pm.ok('start', 'half.js');
  const { pid } = await pm.app('half');
  let before = counted(pid);
  // The machine may be busy with other things: what is told has to be near what was given in the same time.
  await until(
    'the figure is near that of the kernel',
    async () => {
      const { monit } = await pm.app('half');
      const now = counted(pid);
      const given = ((now.ticks - before.ticks) * 10 * 100) / (now.at - before.at);
      before = now;
      expect(monit.memory / now.rss).toBeGreaterThan(0.7);
      expect(monit.memory / now.rss).toBeLessThan(1.4);
      expect(monit.memory).toBeGreaterThan(80 << 20);
      expect(monit.cpu).toBeLessThan(130);
      return given > 5 && Math.abs(monit.cpu - given) < Math.max(10, given / 2);
    },
    { every: 400, within: 30_000 },
  );
});

test('an app may have another process measured in its place', async () => {
  writeFileSync(
    path.join(pm.dir, 'other.js'),
    `const { spawn } = require('child_process');
    const large = 'const kept = Buffer.alloc(150 << 20, 1); setInterval(() => kept[0]++, 1000)';
    const child = spawn(process.execPath, ['-e', large]);
    process.send({ type: 'axm:option:configuration', data: { pid: child.pid } });
    console.log('child', child.pid);
    setInterval(() => {}, 1000);`,
  );
  await pm.ok('start', 'other.js');
  const measured = await until('the large one is measured', async () => {
    const entry = await pm.app('other');
    return entry.monit.memory > 150 << 20 && entry;
  });
  const child = Number(/child (\d+)/.exec(pm.file('logs', 'other-out.log'))?.[1]);
  expect(measured.pm2_env.axm_options.pid).toBe(child);
  expect(measured.pid).not.toBe(child);
  expect(counted(measured.pid).rss).toBeLessThan(150 << 20);
  // What has gone takes nothing.
  process.kill(child, 'SIGKILL');
  await until('nothing is measured', async () => (await pm.app('other')).monit.memory === 0);
});

import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const app = (name: string) => path.join(apps, name);
const log = (name: string) => path.join(pm.home, 'logs', name);
const holds = (file: string, text: string) =>
  until(`${file} holds ${text}`, () => {
    const now = readFileSync(file, 'utf8');
    return now.includes(text) && now;
  });

/** Which lines of loop.py a text holds; without the last line, which may be unfinished. */
const numbers = (text: string) => [...text.matchAll(/^python (\d+)\n/gm)].map((found) => Number(found[1]));

describe('files', () => {
  test('out and error have a file each, named after the app', async () => {
    await pm.ok('start', app('prints.js'));
    expect(await holds(log('prints-out.log'), 'to stdout')).not.toContain('to stderr');
    expect(await holds(log('prints-error.log'), 'to stderr')).not.toContain('to stdout');
    expect(readFileSync(path.join(pm.home, 'pids/prints-0.pid'), 'utf8')).toBe(
      String((await pm.app('prints')).pid),
    );
  });

  test('given paths, and a combined file', async () => {
    const out = path.join(pm.dir, 'own/out.log');
    const both = path.join(pm.dir, 'own/both.log');
    await pm.ok('start', app('prints.js'), '-o', out, '-e', '/dev/null', '-l', both);
    await holds(out, 'to stdout');
    await holds(both, 'to stderr');
    await holds(both, 'to stdout');
    expect(existsSync(log('prints-error.log'))).toBe(false);
  });

  test('a date before each line', async () => {
    await pm.ok('start', app('prints.js'), '--log-date-format', 'YYYY-MM-DD HH:mm:ss.SSS Z');
    const text = await holds(log('prints-out.log'), 'env ');
    for (const line of text.trimEnd().split('\n')) {
      expect(line).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [+-]\d\d:\d\d: \S/);
    }
  });

  test('json lines', async () => {
    await pm.ok('start', app('prints.js'), '--log-type', 'json', '--merge-logs');
    const text = await holds(log('prints-error.log'), '}');
    const record = JSON.parse(text.split('\n')[0] ?? '');
    expect(record).toMatchObject({ message: 'to stderr\n', type: 'err', process_id: 0, app_name: 'prints' });
    expect(Number.isNaN(Date.parse(record.timestamp))).toBe(false);
  });

  test('flush empties, and writing goes on', async () => {
    await pm.ok('start', app('loop.py'));
    await holds(log('loop-out.log'), 'python 3');
    await pm.ok('flush', 'loop');
    const text = await until('new lines', () => readFileSync(log('loop-out.log'), 'utf8') || undefined);
    expect(text).toMatch(/^python \d+\n/);
    expect(text).not.toContain('python 1\n');
  });

  test('flush without a name empties all of them, the own log of the daemon too', async () => {
    await pm.ok('start', app('prints.js'));
    await pm.ok('start', app('loop.py'));
    await holds(log('prints-out.log'), 'env ');
    await holds(log('prints-error.log'), 'to stderr');
    await holds(log('loop-out.log'), 'python 3');
    await holds(path.join(pm.home, 'pm2.log'), 'prints');
    await pm.ok('flush');
    expect(readFileSync(log('prints-out.log'), 'utf8')).toBe('');
    expect(readFileSync(log('prints-error.log'), 'utf8')).toBe('');
    expect(pm.file('pm2.log')).not.toContain('prints');
    expect(readFileSync(log('loop-out.log'), 'utf8')).not.toContain('python 1\n');
    await holds(log('loop-out.log'), 'python ');
  });

  test('reloadLogs writes to a new file after a rename', async () => {
    await pm.ok('start', app('loop.py'));
    await holds(log('loop-out.log'), 'python 2');
    renameSync(log('loop-out.log'), log('moved.log'));
    await pm.ok('reloadLogs');
    await holds(log('loop-out.log'), 'python');
  });
});

describe('the logs verb', () => {
  test('shows the last lines with the app before them', async () => {
    await pm.ok('start', app('prints.js'));
    await holds(log('prints-out.log'), 'env ');
    const { stdout } = await pm.ok('logs', 'prints', '--nostream', '--lines', '2');
    expect(stdout).toContain('last 2 lines:');
    expect(stdout).toMatch(/0\|prints +\| env /);
    expect(stdout).toMatch(/0\|prints +\| to stderr/);
    expect(stdout).not.toContain('to stdout');
  });

  test('follows what is written', async () => {
    await pm.ok('start', app('loop.py'));
    const logs = pm.follow('logs', 'loop', '--lines', '0', '--raw');
    await until('streamed lines', () => /python \d+\npython \d+/.test(logs.text()));
    logs.end();
  });

  test('follows on when the files are moved away and made anew', async () => {
    await pm.ok('start', app('loop.py'));
    const logs = pm.follow('logs', 'loop', '--lines', '0', '--raw');
    await until('streamed lines', () => numbers(logs.text()).length > 2);
    renameSync(log('loop-out.log'), log('moved.log'));
    await pm.ok('reloadLogs');
    const [first] = numbers(await holds(log('loop-out.log'), 'python '));
    await until('lines of the new file', () => numbers(logs.text()).some((n) => n > (first ?? 0)));
    logs.end();
    const seen = numbers(logs.text());
    expect(seen).toEqual(seen.map((_, index) => (seen[0] ?? 0) + index));
  });

  onlyOurs('follows on when the daemon was killed', async () => {
    await pm.ok('start', app('loop.py'));
    const logs = pm.follow('logs', 'loop', '--lines', '0', '--raw');
    await until('streamed lines', () => numbers(logs.text()).length > 2);
    const old = pm.daemonPid();
    process.kill(old, 'SIGKILL');
    await until('a successor', () => pm.daemonPid() !== old);
    await pm.ok('ping');
    const last = Math.max(...numbers(readFileSync(log('loop-out.log'), 'utf8')));
    await until('lines from after the death', () => numbers(logs.text()).some((n) => n > last));
    logs.end();
    const seen = numbers(logs.text());
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
  });

  test('--json gives one object per packet', async () => {
    await pm.ok('start', app('loop.py'));
    const logs = pm.follow('logs', 'loop', '--lines', '0', '--json');
    const line = await until('a packet', () =>
      logs
        .text()
        .split('\n')
        .find((text) => text.endsWith('}')),
    );
    expect(JSON.parse(line)).toMatchObject({ type: 'out', process_id: 0, app_name: 'loop' });
    logs.end();
  });

  test('--timestamp puts the time before each line that comes', async () => {
    await pm.ok('start', app('loop.py'));
    const logs = pm.follow('logs', 'loop', '--lines', '0', '--timestamp', 'YYYY/MM/DD HH');
    await until('a dated line', () => /^\d{4}\/\d\d\/\d\d \d\d 0\|loop +\| python \d+$/m.test(logs.text()));
    logs.end();
    const plain = pm.follow('logs', 'loop', '--lines', '0', '--timestamp');
    await until('a dated line', () =>
      /^\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d 0\|loop +\| python \d+$/m.test(plain.text()),
    );
    plain.end();
  });

  test('--format gives key=value pairs', async () => {
    await pm.ok('start', app('loop.py'));
    const logs = pm.follow('logs', 'loop', '--format');
    await until('a line of pairs', () =>
      /^timestamp=\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d\S* app=loop id=0 type=out message=python \d+$/m.test(
        logs.text(),
      ),
    );
    logs.end();
  });

  test('a pattern, a namespace and an id choose whose lines come', async () => {
    await pm.ok('start', app('loop.py'), '--name', 'alpha', '--namespace', 'first');
    await pm.ok('start', app('loop.py'), '--name', 'beta', '--namespace', 'second');
    for (const [target, wanted, other] of [
      ['/^al/', 'alpha', 'beta'],
      ['second', 'beta', 'alpha'],
      ['1', 'beta', 'alpha'],
    ] as const) {
      const logs = pm.follow('logs', target, '--lines', '1');
      await until(`lines of ${wanted}`, () => logs.text().split(`|${wanted}`).length > 4);
      logs.end();
      expect(logs.text()).not.toContain(`|${other}`);
    }
  });

  test('--highlight paints a text, and colours tell the streams', async () => {
    await pm.ok('start', app('loop.py'));
    const colours = { NO_COLOR: '', FORCE_COLOR: '1' };
    const logs = pm.followWith(
      pm.program,
      { env: colours },
      'logs',
      'loop',
      '--lines',
      '1',
      '--highlight',
      'pyth',
    );
    await until('a painted line', () =>
      logs.text().includes('\u001b[32m0|loop  | \u001b[39m\u001b[100mpyth\u001b[49mon '),
    );
    logs.end();
    // Of the past: id|name, cut or filled to ten columns.
    await pm.ok('start', app('prints.js'));
    await holds(log('prints-error.log'), 'to stderr');
    const { stdout } = await pm.with(pm.program, ['logs', 'prints', '--nostream'], { env: colours });
    expect(stdout).toContain('\u001b[31m1|prints   | \u001b[39mto stderr');
  });

  test('--raw gives bare lines, those of the error stream on standard error', async () => {
    await pm.ok('start', app('prints.js'));
    await holds(log('prints-out.log'), 'env ');
    await holds(log('prints-error.log'), 'to stderr');
    const { stdout, stderr } = await pm.ok('logs', 'prints', '--nostream', '--raw');
    expect(stdout).toMatch(/^to stdout$/m);
    expect(stderr).toMatch(/^to stderr$/m);
  });

  test('only the asked stream', async () => {
    await pm.ok('start', app('prints.js'));
    await holds(log('prints-error.log'), 'to stderr');
    const { stdout } = await pm.ok('logs', '--err', '--nostream');
    expect(stdout).toContain('to stderr');
    expect(stdout).not.toContain('to stdout');
  });
});

test('a huge line and invalid UTF-8 arrive as they are', async () => {
  const script = path.join(pm.dir, 'bytes.py');
  writeFileSync(
    script,
    'import sys, time\nsys.stdout.buffer.write(b"x" * 3_000_000 + b"\\n" + bytes([0xff, 0xfe]) + b"end\\n")\nsys.stdout.flush()\ntime.sleep(1000)\n',
  );
  await pm.ok('start', script, '--name', 'bytes');
  const bytes = await until('all bytes', () => {
    const now = readFileSync(log('bytes-out.log'));
    return now.length >= 3_000_007 && now;
  });
  expect(bytes.subarray(0, 3_000_001).equals(Buffer.from(`${'x'.repeat(3_000_000)}\n`))).toBe(true);
});

test('an existing log is appended to', async () => {
  await pm.ok('ping');
  appendFileSync(log('prints-out.log'), 'from before\n');
  await pm.ok('start', app('prints.js'));
  expect(await holds(log('prints-out.log'), 'to stdout')).toMatch(/^from before\n/);
});

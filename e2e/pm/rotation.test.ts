// Log files that are put aside by the process manager itself. PM2 has no such thing.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const folder = () => path.join(pm.home, 'logs');
/** The older parts of a log and then the log, oldest first. */
const parts = (name: string, dir = folder()) => {
  const older = readdirSync(dir).filter((file) => file.startsWith(`${name}__`) && !file.endsWith('.part'));
  // A part is there plain and compressed for a moment; both hold the same.
  const wanted = older.filter((file) => !file.endsWith('.gz') || !older.includes(file.slice(0, -3)));
  return [...wanted.sort(), `${name}.log`];
};
const text = (file: string) => {
  const bytes = readFileSync(path.join(folder(), file));
  return (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
};
const config = (name: string, app: object) => {
  const file = path.join(pm.dir, 'app.config.json');
  writeFileSync(file, JSON.stringify({ apps: [{ name, script: path.join(apps, 'counts.js'), ...app }] }));
  return file;
};
const settings = (content: object) => {
  mkdirSync(pm.home, { recursive: true });
  writeFileSync(path.join(pm.home, 'module_conf.json'), JSON.stringify(content));
};

onlyOurs('a log is put aside at its size, and a killed daemon loses no line of it', async () => {
  await pm.ok('start', config('counts', { logrotate: { max_size: '8K', retain: 'all' } }));
  for (let death = 1; death <= 2; death += 1) {
    await until('parts', () => parts('counts-out').length > 3 * death);
    const old = pm.daemonPid();
    process.kill(old, 'SIGKILL');
    await until('a successor', () => pm.daemonPid() !== old);
    await pm.ok('ping');
  }
  await until('parts', () => parts('counts-out').length > 10);
  await pm.ok('delete', 'counts');
  await until('all are compressed', () => {
    const older = parts('counts-out').slice(0, -1);
    return older.every((file) => file.endsWith('.gz'));
  });
  const pieces = parts('counts-out').map(text);
  for (const piece of pieces.slice(0, -1)) expect(piece.endsWith('\n')).toBe(true);
  const numbers = [...pieces.join('').matchAll(/^count (\d+) x+$/gm)].map((found) => Number(found[1]));
  expect(numbers.length).toBeGreaterThan(100);
  expect(numbers).toEqual(numbers.map((_, index) => index + 1));
});

onlyOurs('as many older parts are kept as wanted', async () => {
  settings({ logrotate: { max_size: '4K', retain: '2' } });
  await pm.ok('start', config('counts', {}));
  const seen = new Set<string>();
  await until('many parts', () => {
    for (const file of parts('counts-out').slice(0, -1)) seen.add(file.replace('.gz', ''));
    return seen.size > 6;
  });
  await pm.ok('stop', 'counts');
  await until('two are left', () => parts('counts-out').length === 3);
});

onlyOurs('one setting switches it off, for all or for one app', async () => {
  settings({ logrotate: { enabled: 'false', max_size: '4K' } });
  await pm.ok('start', config('counts', {}));
  const log = path.join(folder(), 'counts-out.log');
  await until('a large log', () => readFileSync(log).length > 20_000);
  expect(parts('counts-out')).toEqual(['counts-out.log']);
  // The settings are read again when the logs are.
  settings({ logrotate: { max_size: '4K' } });
  await pm.ok('reloadLogs');
  await until('it is put aside', () => parts('counts-out').length > 1);
  await pm.ok('delete', 'all');
  await pm.ok('start', config('never', { logrotate: false }));
  await until('a large log', () => text('never-out.log').length > 20_000);
  expect(parts('never-out')).toEqual(['never-out.log']);
});

onlyOurs('logs are put aside by the clock too', async () => {
  // Each second, and looked at as often as memory limits are.
  const often = new Manager(pm.program, { PM2_WORKER_INTERVAL: '200' });
  pm.dispose();
  pm = often;
  settings({ logrotate: { rotateInterval: '* * * * * *', retain: '3' } });
  await pm.ok('start', config('counts', {}));
  await until('parts', () => parts('counts-out').length > 2);
  await until('parts of the own log', () => parts('pm2', pm.home).length > 1);
});

onlyOurs('while the module pm2-logrotate runs, it is left to it', async () => {
  settings({ logrotate: { max_size: '4K' } });
  await pm.ok('start', path.join(apps, 'loop.py'), '--name', 'pm2-logrotate');
  await pm.ok('start', config('counts', {}));
  await until('a large log', () => text('counts-out.log').length > 20_000);
  expect(parts('counts-out')).toEqual(['counts-out.log']);
  await pm.ok('stop', 'pm2-logrotate');
  await until('it is put aside', () => parts('counts-out').length > 1);
});

onlyOurs("the daemon's own log is put aside too, and goes on after a death", async () => {
  settings({ logrotate: { max_size: '1K', retain: 'all' } });
  await pm.ok('start', config('counts', {}));
  for (let i = 0; i < 6; i += 1) await pm.ok('restart', 'counts');
  await until('parts', () => parts('pm2', pm.home).length > 1);
  const old = pm.daemonPid();
  process.kill(old, 'SIGKILL');
  await until('a successor', () => pm.daemonPid() !== old);
  await pm.ok('ping');
  await until('its first words in the log', () => pm.file('pm2.log').includes('taking over'));
  expect(existsSync(path.join(pm.home, 'pm2.log'))).toBe(true);
});

onlyOurs('a setting that makes no sense is refused at the start, and told in the log', async () => {
  const refused = await pm.run('start', config('counts', { logrotate: { max_size: 'huge' } }));
  expect(refused.code).toBe(1);
  expect(refused.stdout + refused.stderr).toContain('max_size is huge, say a size such as 10M, or none');
  settings({ logrotate: { retain: 'some' } });
  await pm.ok('reloadLogs');
  await until('the complaint', () => pm.file('pm2.log').includes('retain is some'));
});

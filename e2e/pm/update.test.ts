// A newer program takes over: from a daemon of ours without an app noticing, from the original by starting anew.
import { copyFileSync, mkdirSync, readlinkSync, realpathSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { alive, parentOf } from '../lib/scratch.ts';
import { apps, onlyOurs, ourBinary, realPm2 } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const exe = (pid: number) => readlinkSync(`/proc/${pid}/exe`);

/** Our program under another path, as a newer release would be. */
function another(name: string) {
  const dir = path.join(pm.dir, name);
  mkdirSync(dir);
  const file = path.join(dir, 'pm2');
  copyFileSync(ourBinary.path, file);
  return { path: file, node: false };
}

const get = (port: number, agent: http.Agent) =>
  new Promise<string>((resolve, reject) => {
    http
      .get({ port, host: '127.0.0.1', agent, path: '/' }, (reply) => {
        let text = '';
        reply.setEncoding('utf8').on('data', (chunk) => {
          text += chunk;
        });
        reply.on('end', () => resolve(text));
      })
      .on('error', reject);
  });

test('update brings back what ran, stopped what was stopped', async () => {
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'runs');
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'rests', '-f');
  await pm.ok('stop', 'rests');
  await pm.ok('restart', 'runs');
  expect((await pm.app('runs')).pm2_env.restart_time).toBe(1);
  const { stdout } = await pm.ok('update');
  expect(stdout).toContain('>>>>>>>>>> PM2 updated');
  expect(stdout).toContain('│ runs');
  await pm.status('runs', 'online');
  expect((await pm.app('runs')).pm2_env.restart_time).toBe(0);
  expect((await pm.app('rests')).pm2_env.status).toBe('stopped');
});

onlyOurs(
  'update to another program keeps pids, connections and every log line, under load',
  async () => {
    const port = await freePort();
    const env = { PORT: String(port), RATE: '5000' };
    const started = await pm.with(pm.program, ['start', path.join(apps, 'logger.js')], { env });
    expect(started.code).toBe(0);
    const before = await pm.app('logger');
    const daemon = pm.daemonPid();
    const keeper = parentOf(daemon);
    const kept = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const fresh = new http.Agent({ keepAlive: false });
    expect(await until('the app serves', () => get(port, kept))).toBe(String(before.pid));
    const [socket] = Object.values(kept.freeSockets).flat();
    const local = socket?.localPort;
    // Somebody asks all the time, on one connection and on new ones; nobody may be refused.
    let asking = true;
    let answers = 0;
    const visitors = [kept, fresh].map(async (agent) => {
      while (asking) {
        expect(await get(port, agent)).toBe(String(before.pid));
        answers += 1;
      }
    });
    const programs = [
      another('first'),
      another('second'),
      { path: realpathSync(ourBinary.path), node: false },
    ];
    for (const program of programs) {
      const last = pm.daemonPid();
      const { code, stdout, stderr } = await pm.with(program, ['update']);
      expect(`${code} ${stderr}`).toBe('0 ');
      expect(stdout).toContain('1 of 1 running processes went on without a restart');
      expect(pm.daemonPid()).not.toBe(last);
      expect(exe(pm.daemonPid())).toBe(program.path);
      expect(parentOf(pm.daemonPid())).toBe(keeper);
      expect(exe(keeper)).toBe(program.path);
    }
    const so_far = answers;
    await until('requests go on', () => answers > so_far + 10);
    asking = false;
    await Promise.all(visitors);
    expect(Object.values(kept.freeSockets).flat()[0]?.localPort).toBe(local);
    kept.destroy();
    const after = await pm.app('logger');
    expect([after.pid, after.pm2_env.restart_time]).toEqual([before.pid, 0]);
    expect(after.pm2_env.pm_uptime).toBe(before.pm2_env.pm_uptime);
    await pm.ok('stop', 'logger');
    const lines = pm.file('logs/logger-out.log').split('\n');
    expect(lines.pop()).toBe('');
    expect(lines.length).toBeGreaterThan(1000);
    const wrong = lines.findIndex((line, index) => line !== `line ${index}`);
    expect(wrong === -1 ? 'all in order' : `${wrong}: ${lines[wrong]}`).toBe('all in order');
    const errors = pm.file('logs/logger-error.log');
    expect(errors).not.toMatch(/DISCONNECTED|DIED/);
  },
  180_000,
);

onlyOurs('a keeper that is killed during an update takes no app with it', async () => {
  await pm.ok('start', path.join(apps, 'prints.js'));
  const { pid } = await pm.app('prints');
  const program = another('next');
  const keeper = parentOf(pm.daemonPid());
  // It is asked, but does not get to it.
  process.kill(keeper, 'SIGSTOP');
  const updating = pm.with(program, ['update']);
  await until('it was asked', () => pm.file('pm2.log').includes(`handing over to ${program.path}`));
  process.kill(keeper, 'SIGKILL');
  const { code, stderr } = await updating;
  expect(code).toBe(1);
  expect(stderr).toContain('try again');
  const as_it_was = async () => {
    const entry = await pm.app('prints');
    expect([entry.pid, entry.pm2_env.status, entry.pm2_env.restart_time]).toEqual([pid, 'online', 0]);
  };
  await as_it_was();
  expect((await pm.with(program, ['update'])).code).toBe(0);
  await as_it_was();
  expect(exe(parentOf(pm.daemonPid()))).toBe(program.path);
  // The new keeper is one whose death harms as little.
  const last = parentOf(pm.daemonPid());
  process.kill(last, 'SIGKILL');
  await until('another keeper', () => ![last, 1].includes(parentOf(pm.daemonPid())) || !alive(last));
  await as_it_was();
  await pm.ok('restart', 'prints');
  expect((await pm.app('prints')).pid).not.toBe(pid);
});

onlyOurs('update takes over from the original, and the original takes back', async () => {
  const original = async (...args: string[]) => {
    const outcome = await pm.with(realPm2, args);
    expect(`${outcome.code} ${args.join(' ')}\n${outcome.stderr}`).toMatch(/^0 /);
    return outcome;
  };
  await original('start', path.join(apps, 'prints.js'), '--name', 'one');
  await original('start', path.join(apps, 'loop.py'), '--name', 'two', '--max-restarts', '7');
  await original('stop', 'two');
  const theirs = pm.daemonPid();
  expect(exe(theirs)).toContain('node');
  const old = await pm.app('one');

  const { stdout } = await pm.ok('update');
  expect(stdout).toContain('Taking over from a daemon of PM2 7.0.4');
  expect(stdout).toContain(`[one](0) pid ${old.pid} → (0) pid`);
  expect(exe(pm.daemonPid())).toContain('pilothouse');
  const one = await pm.status('one', 'online');
  expect(one.pid).not.toBe(old.pid);
  expect((await pm.app('two')).pm2_env).toMatchObject({ status: 'stopped', max_restarts: 7 });
  expect(JSON.parse(pm.file('dump.pm2'))).toHaveLength(2);

  await original('update');
  expect(exe(pm.daemonPid())).toContain('node');
  const list = JSON.parse((await original('jlist')).stdout.split('\n').at(-1) ?? '');
  // biome-ignore lint/suspicious/noExplicitAny: PM2's own shape
  expect(list.map((entry: any) => [entry.name, entry.pm2_env.status])).toEqual([
    ['one', 'online'],
    ['two', 'stopped'],
  ]);
  await original('kill');
});

onlyOurs('update without a daemon starts one', async () => {
  const { stdout } = await pm.ok('update');
  expect(stdout).toContain('starting one');
  await pm.ok('ping');
});

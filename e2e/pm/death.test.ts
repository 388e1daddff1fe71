// The promise that the original cannot make: a daemon that dies takes nothing with it.
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { clientProgram } from '../lib/client.ts';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { alive, parentOf } from '../lib/scratch.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

/** Kills the daemon the hard way and waits until its successor answers. */
async function killDaemon() {
  const old = pm.daemonPid();
  process.kill(old, 'SIGKILL');
  await until('a successor', async () => existsSync(path.join(pm.home, 'pm2.pid')) && pm.daemonPid() !== old);
  await pm.ok('ping');
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

onlyOurs(
  'kill -9 of the daemon keeps pid, connection and every log line of a busy app with an IPC channel',
  async () => {
    const port = await freePort();
    process.env.PORT = String(port);
    process.env.RATE = '10000';
    try {
      await pm.ok('start', path.join(apps, 'logger.js'));
    } finally {
      delete process.env.PORT;
      delete process.env.RATE;
    }
    const before = await pm.app('logger');
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    expect(await until('the app serves', () => get(port, agent))).toBe(String(before.pid));
    const [socket] = Object.values(agent.freeSockets).flat();
    expect(socket).toBeDefined();
    const local = socket?.localPort;

    for (let round = 0; round < 8; round += 1) {
      await killDaemon();
      expect(await get(port, agent)).toBe(String(before.pid));
    }
    const [still] = Object.values(agent.freeSockets).flat();
    expect(still?.localPort).toBe(local);
    agent.destroy();

    const after = await pm.app('logger');
    expect(after.pid).toBe(before.pid);
    expect(after.pm2_env.restart_time).toBe(0);
    expect(after.pm2_env.pm_uptime).toBe(before.pm2_env.pm_uptime);
    // The restored daemon is the whole daemon: it stops the app, and then all lines are there.
    await pm.ok('stop', 'logger');
    const text = pm.file('logs/logger-out.log');
    const lines = text.split('\n');
    expect(lines.pop()).toBe('');
    expect(lines.length).toBeGreaterThan(10_000);
    const wrong = lines.findIndex((line, index) => line !== `line ${index}`);
    expect(wrong === -1 ? 'all in order' : `${wrong}: ${lines[wrong]}`).toBe('all in order');
    const errors = pm.file('logs/logger-error.log');
    expect(errors).not.toContain('DISCONNECTED');
    expect(errors).not.toContain('DIED');
  },
  180_000,
);

onlyOurs('kill -9 of the daemon in a flood of lines loses none of them, and writes none twice', async () => {
  // One file holds it all.
  mkdirSync(pm.home, { recursive: true });
  writeFileSync(path.join(pm.home, 'module_conf.json'), JSON.stringify({ logrotate: { enabled: 'false' } }));
  const script = path.join(pm.dir, 'flood.py');
  const enough = path.join(pm.dir, 'enough');
  // Each line by a write of its own, as fast as it goes, with a breath so that the log can be read back.
  writeFileSync(
    script,
    `import os, time
n = 0
while not os.path.exists("${enough}"):
    for _ in range(20000):
        os.write(1, b"line %d\\n" % n)
        n += 1
    time.sleep(0.05)
os.write(1, b"end\\n")
time.sleep(100000)
`,
  );
  await pm.ok('start', script, '--name', 'flood', '--interpreter', 'python3');
  const log = path.join(pm.home, 'logs/flood-out.log');
  const size = () => statSync(log, { throwIfNoEntry: false })?.size ?? 0;
  for (let round = 0; round < 6; round += 1) {
    const before = size();
    await until('it is carried', () => size() > before + 100_000);
    await killDaemon();
  }
  writeFileSync(enough, '');
  const lines = await until('the end', () => {
    const text = readFileSync(log, 'latin1');
    return text.endsWith('end\n') && text.split('\n').slice(0, -2);
  });
  const wrong = lines.findIndex((line, index) => line !== `line ${index}`);
  expect(wrong === -1 ? 'all in order' : `${wrong}: ${lines[wrong]}`).toBe('all in order');
});

onlyOurs('exits that happen while the daemon is dead are not lost', async () => {
  await pm.ok('start', path.join(apps, 'prints.js'));
  const { pid } = await pm.app('prints');
  const daemon = pm.daemonPid();
  process.kill(daemon, 'SIGSTOP');
  process.kill(pid, 'SIGKILL');
  await until('the app is dead', () => !alive(pid));
  process.kill(daemon, 'SIGKILL');
  const back = await until('a new process of the app', async () => {
    const entry = await pm.app('prints');
    return entry.pid > 0 && entry.pid !== pid && entry.pm2_env.status === 'online' && entry;
  });
  expect(back.pm2_env.restart_time).toBe(1);
});

onlyOurs('messages to an app arrive whole while daemons die in the middle of them', async () => {
  const app = path.join(pm.dir, 'receiver.js');
  writeFileSync(
    app,
    `process.on('message', (m) => console.log('whole', m.data.n, m.data.filler.length));
process.on('disconnect', () => console.log('DISCONNECTED'));
setInterval(() => {}, 1000);
console.log('up');`,
  );
  await pm.ok('start', app);
  const { pid } = await pm.app('receiver');
  await until('the app is up', () => pm.file('logs/receiver-out.log').includes('up'));
  const arrived = () => pm.file('logs/receiver-out.log').split('whole').length;
  for (let round = 0; round < 6; round += 1) {
    const before = arrived();
    // 30 frames of 700 kB: several times what the channel holds, so that one is under way when the daemon dies.
    const sender = clientProgram(
      pm,
      `const filler = 'ü'.repeat(350_000);
       for (let n = 0; n < 30; n += 1) {
         pm2.sendDataToProcessId({ id: 0, type: 'process:msg', topic: 't', data: { n, filler } }, () => {});
       }
       return new Promise((done) => setTimeout(() => done({}), 150));`,
    );
    await until('frames are under way', () => arrived() > before);
    await killDaemon();
    await sender.catch(() => {}); // its daemon died
  }
  const answer = await clientProgram(
    pm,
    `return call('sendDataToProcessId', { id: 0, type: 'process:msg', topic: 't', data: { n: 'last', filler: '' } });`,
  );
  expect(answer.error).toBeUndefined();
  const text = await until('the last message', () => {
    const now = pm.file('logs/receiver-out.log');
    return now.includes('whole last 0') && now;
  });
  for (const line of text.trimEnd().split('\n')) expect(line).toMatch(/^(up|whole \d+ 350000|whole last 0)$/);
  expect((await pm.app('receiver')).pid).toBe(pid);
});

onlyOurs('kill -9 of the keeper leaves the apps alive and managed', async () => {
  await pm.ok('start', path.join(apps, 'prints.js'));
  const { pid } = await pm.app('prints');
  const daemon = pm.daemonPid();
  const keeper = parentOf(daemon);
  process.kill(keeper, 'SIGKILL');
  await until('the daemon answers, with the app as it was', async () => {
    const entry = await pm.app('prints');
    return entry.pid === pid && entry.pm2_env.status === 'online';
  });
  expect(alive(pid)).toBe(true);
  await pm.ok('restart', 'prints');
  const after = await pm.app('prints');
  expect(after.pid).not.toBe(pid);
  expect(alive(pid)).toBe(false);
});

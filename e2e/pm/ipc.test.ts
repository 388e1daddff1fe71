// The IPC channel of apps: large messages, floods, garbage, other languages, and children that do not read.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { clientProgram } from '../lib/client.ts';
import { Manager } from '../lib/manager.ts';
import { Rpc } from '../lib/rpc.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

/** For client programs: sends to process 0 and waits for a topic of the bus. */
const ask = `const bus = await call('launchBus');
  const heard = (topic) => new Promise((done) => bus.on(topic, (packet) => done(packet.data)));
  const ask = (topic, data, answer) => {
    const waits = heard(answer);
    return call('sendDataToProcessId', { id: 0, type: 'process:msg', topic, data }).then(() => waits);
  };`;

/** Resident memory of the daemon, bytes. */
const memory = () =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pm.daemonPid()}/status`, 'utf8'))?.[1]) * 1024;

const MB = 1024 * 1024;

test('20 MB go down to an app, and 5 MB come up', async () => {
  await pm.ok('start', path.join(apps, 'mailbox.js'));
  const found = await clientProgram(
    pm,
    `${ask}
    const text = 'ü€x'.repeat(${(20 * MB) / 6});
    let sum = 0;
    for (let at = 0; at < text.length; at += 1021) sum = (sum * 31 + text.charCodeAt(at)) % 1_000_003;
    const down = await ask('measure', text, 'measured');
    const up = await ask('fill', ${(5 * MB) / 2}, 'filled');
    return { same: down.length === text.length && down.sum === sum, up: up.length, last: up.at(-1) };`,
  );
  expect(found).toEqual({ same: true, up: (5 * MB) / 2, last: 'ü' });
});

test('any program can speak on the channel, in pieces and in any encoding', async () => {
  await pm.ok('start', path.join(apps, 'speaker.py'), '--interpreter', 'python3', '--name', 'speaker');
  await until('its action is known', async () => (await pm.app('speaker')).pm2_env.axm_actions.length === 1);
  expect((await pm.app('speaker')).pm2_env.axm_monitor).toEqual({ Queue: { value: 3, unit: 'jobs' } });
  expect((await pm.ok('trigger', 'speaker', 'greet')).stdout).toContain(
    '[speaker:0:default]="hello from python"',
  );
  const found = await clientProgram(pm, `${ask} return { invalid: await ask('invalid', 1, 'invalid') };`);
  expect(found).toEqual({ invalid: { text: 'a\ufffdb' } });
});

onlyOurs('what is no JSON, or too long, is dropped and told; what follows is heard', async () => {
  await pm.ok('start', path.join(apps, 'speaker.py'), '--interpreter', 'python3', '--name', 'speaker');
  await until('it speaks', async () => (await pm.app('speaker')).pm2_env.axm_actions.length === 1);
  const before = memory();
  const found = await clientProgram(
    pm,
    `${ask} return { one: await ask('garbage', 1, 'after'), two: await ask('endless', 1, 'after') };`,
  );
  expect(found).toEqual({ one: { garbage: true }, two: { endless: true } });
  expect(pm.file('pm2.log')).toContain(
    'App [speaker:0]: wrote something on its IPC channel that is not JSON',
  );
  expect(memory() - before).toBeLessThan(100 * MB);
  expect((await pm.app('speaker')).pm2_env.restart_time).toBe(0);
});

onlyOurs('a flood, with a client of the bus that reads nothing, costs bounded memory', async () => {
  await pm.ok('start', path.join(apps, 'mailbox.js'));
  const found = await clientProgram(
    pm,
    `const net = require('node:net');
    const lazy = net.connect(process.env.PM2_HOME + '/pub.sock').pause();
    await new Promise((ok) => lazy.on('connect', ok));
    ${ask}
    let count = 0;
    bus.on('flood', () => count++);
    const flooded = await ask('flood', { count: 5000, size: 10_000 }, 'flooded');
    return { said: flooded.count, count };`,
  );
  expect(found.said).toBe(5000);
  // Nobody else loses for the sake of the one who does not read, as long as it keeps up itself.
  expect(found.count).toBeGreaterThan(0);
  expect(memory()).toBeLessThan(150 * MB);
  const { stdout } = await pm.ok('report');
  expect(Number(/^bus messages lost +: (\d+)$/m.exec(stdout)?.[1])).toBeGreaterThan(0);
  expect(pm.file('pm2.log')).toContain('a client of the bus reads too slowly and loses messages');
});

onlyOurs(
  'an app that does not read is not sent more than it can be kept, and then reads every line',
  async () => {
    await pm.ok('start', path.join(apps, 'mailbox.js'));
    const rpc = await Rpc.connect(pm);
    const send = (topic: string, data: unknown) =>
      rpc.said('sendDataToProcessId', { id: 0, type: 'process:msg', topic, data });
    const { pid } = await pm.app('mailbox');
    await until('it reads', async () => (await send('measure', 'x')).success);
    process.kill(pid, 'SIGSTOP');
    const text = 'x'.repeat(8 * MB);
    const said = [];
    for (let n = 0; n < 12; n++) said.push(await send('measure', text));
    const refused = said.filter((answer) => typeof answer === 'string');
    expect(refused.length).toBeGreaterThan(0);
    expect(new Set(refused)).toEqual(new Set(['error: Process with ID <0> does not take messages.']));
    process.kill(pid, 'SIGCONT');
    await until('messages are taken again', async () => (await send('measure', 'x')).success);
    expect((await pm.app('mailbox')).pm2_env.restart_time).toBe(0);
    rpc.close();
  },
);

onlyOurs('an app that closes its channel runs on, and can no longer be told anything', async () => {
  await pm.ok('start', path.join(apps, 'mailbox.js'));
  const rpc = await Rpc.connect(pm);
  await until('it hears', async () => (await rpc.said('sendDataToProcessId', packet('disconnect'))).success);
  await until('it is gone', async () => !(await rpc.said('sendDataToProcessId', packet('x'))).success);
  rpc.close();
  const { pm2_env: env } = await pm.app('mailbox');
  expect([env.status, env.restart_time]).toEqual(['online', 0]);
});

const packet = (topic: string) => ({ id: 0, type: 'process:msg', topic, data: 1 });

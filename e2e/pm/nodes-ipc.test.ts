// The IPC channel on every release of Node that is supported: all that goes over it, and all that may go wrong.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { clientProgram } from '../lib/client.ts';
import { Manager } from '../lib/manager.ts';
import { Rpc } from '../lib/rpc.ts';
import { root, underTest } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

// Where the packages have no binary for the machine, the Node at hand has to do: `pm/ipc`.
const here = process.platform === 'linux' && process.arch === 'x64';
const both = test.runIf(here);
const onlyOurs = test.runIf(here && underTest === 'ours');
const MB = 1024 * 1024;

/** Answers, floods, writes garbage and disconnects as it is told to. */
const app = `
const fs = require('fs');
console.log('up', process.version.slice(1).split('.')[0]);
process.on('message', (message) => {
  // The original's trigger waits for ever on an answer that overtakes the daemon's own.
  if (message === 'greet')
    return setTimeout(() => process.send({ type: 'axm:reply', data: { action_name: 'greet', return: 'hello' } }), 100);
  if (message === 'shutdown') {
    console.log('told to shut down');
    return setTimeout(() => process.exit(0), 20);
  }
  const { topic, data } = message;
  if (topic === 'measure') console.log('measured', data.length);
  if (topic === 'measure') process.send({ type: 'measured', data: { length: data.length, end: data.slice(-3) } });
  if (topic === 'fill') process.send({ type: 'filled', data: 'ü'.repeat(data) });
  if (topic === 'flood') {
    for (let n = 0; n < data; n++) process.send({ type: 'flood', data: { n, text: 'x'.repeat(2000) } });
    process.send({ type: 'flooded', data: { count: data } });
  }
  if (topic === 'garbage') {
    fs.writeSync(CHANNEL, 'this is no JSON\\n{"type":\\n' + '[' .repeat(10000) + '\\n');
    fs.writeSync(CHANNEL, Buffer.from([0xff, 0xfe, 0x0a, 0x0a]));
    process.send({ type: 'after', data: 'garbage' });
  }
  if (topic === 'odd') for (const value of [null, 0, '', [1, 2], '\\ud800', { type: 'odd', data: 'last' }]) process.send(value);
  if (topic === 'disconnect') process.disconnect();
});
process.on('disconnect', () => console.log('disconnected'));
process.send({ type: 'axm:action', data: { action_name: 'greet', arity: 0 } });
setTimeout(() => process.send('ready'), 50);
setInterval(() => {}, 1000);
`;

async function start(release: number) {
  const interpreter = path.join(root, `e2e/nodes/node_modules/node-${release}/bin/node`);
  expect(existsSync(interpreter), 'run `npm ci` in e2e/nodes first').toBe(true);
  const script = path.join(pm.dir, 'app.cjs');
  // The variable that names the descriptor is gone when a script runs; it is 3, as Node's own parent has it.
  writeFileSync(script, app.replaceAll('CHANNEL', '3'));
  const file = path.join(pm.dir, 'eco.json');
  const config = { name: 'app', script, interpreter, wait_ready: true, shutdown_with_message: true };
  writeFileSync(file, JSON.stringify({ apps: [config] }));
  await pm.ok('start', file);
  await until('it is up', () => pm.file('logs/app-out.log') === `up ${release}\n`);
}

const ask = `const bus = await call('launchBus');
  const ask = (topic, data, answer) => {
    const heard = new Promise((done) => bus.on(answer, (packet) => done(packet.data)));
    return call('sendDataToProcessId', { id: 0, type: 'process:msg', topic, data }).then(() => heard);
  };`;

const speaks = (release: number) => async () => {
  await start(release);
  await until('its action is known', async () => (await pm.app('app')).pm2_env.axm_actions.length > 0);
  expect((await pm.ok('trigger', 'app', 'greet')).stdout).toContain('[app:0:default]="hello"');
  const found = await clientProgram(
    pm,
    `${ask}
    const down = await ask('measure', 'ü€x'.repeat(2_000_000), 'measured');
    const up = await ask('fill', 2_000_000, 'filled');
    return { down, up: up.length, last: up.at(-1) };`,
  );
  expect(found).toEqual({ down: { length: 6_000_000, end: 'ü€x' }, up: 2_000_000, last: 'ü' });
  await pm.ok('stop', 'app');
  expect(pm.file('logs/app-out.log')).toContain('told to shut down');
  expect((await pm.app('app')).pm2_env).toMatchObject({ status: 'stopped', exit_code: 0 });
};

const misbehaves = (release: number) => async () => {
  await start(release);
  const before = await pm.app('app');
  const found = await clientProgram(
    pm,
    `${ask}
    let count = 0;
    bus.on('flood', () => count++);
    const flooded = await ask('flood', 5000, 'flooded');
    const after = await ask('garbage', 1, 'after');
    return { flooded: flooded.count, heard: count > 0, after, odd: await ask('odd', 1, 'odd') };`,
  );
  expect(found).toEqual({ flooded: 5000, heard: true, after: 'garbage', odd: 'last' });
  await until('it is told', () =>
    pm.file('pm2.log').includes('App [app:0]: wrote something on its IPC channel that is not JSON'),
  );

  // What it does not read waits, and is read whole later.
  const rpc = await Rpc.connect(pm);
  const send = (topic: string, data: unknown) =>
    rpc.said('sendDataToProcessId', { id: 0, type: 'process:msg', topic, data });
  process.kill(before.pid, 'SIGSTOP');
  for (let n = 0; n < 3; n++) expect((await send('measure', 'x'.repeat(2 * MB))).success).toBe(true);
  expect((await send('disconnect', 1)).success).toBe(true);
  process.kill(before.pid, 'SIGCONT');
  const out = () => pm.file('logs/app-out.log');
  await until('it has left the channel', () => out().includes('disconnected'));
  expect(out().match(/^measured 2097152$/gm)).toHaveLength(3);
  await until('that is known', async () => !(await send('x', 1)).success);
  rpc.close();
  const after = await pm.app('app');
  expect([after.pid, after.pm2_env.status, after.pm2_env.restart_time]).toEqual([before.pid, 'online', 0]);
  expect(readFileSync(path.join(pm.home, 'logs/app-error.log'), 'utf8')).toBe('');
};

for (const release of [18, 22, 24, 26]) {
  describe(`Node ${release}`, () => {
    both('is ready, is spoken to, speaks, and shuts down when it is told to', speaks(release));
    onlyOurs('may flood, write garbage, stop to read and leave', misbehaves(release));
  });
}

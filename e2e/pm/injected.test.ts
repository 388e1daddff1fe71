// The monitoring that every Node app gets without bringing anything.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { clientProgram } from '../lib/client.ts';
import { Manager } from '../lib/manager.ts';
import { apps, onlyOurs, underTest } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const start = (...options: string[]) => pm.ok('start', path.join(apps, 'plain.js'), ...options);
const monitored = (name: string) =>
  until('its metrics are told', async () => {
    const { pm2_env: env } = await pm.app(name);
    return env.axm_monitor.HTTP && env.axm_monitor['Event Loop Latency'] && env;
  });

test('a plain app has metrics, actions and options', async () => {
  await start();
  const env = await monitored('plain');
  const kinds = Object.fromEntries(
    // biome-ignore lint/suspicious/noExplicitAny: PM2's own shape
    Object.entries<any>(env.axm_monitor).map(([name, metric]) => [
      name,
      [metric.type, metric.unit, metric.historic],
    ]),
  );
  expect(kinds).toMatchObject({
    'Used Heap Size': ['internal/v8/heap/used', 'MiB', true],
    'Heap Usage': ['internal/v8/heap/usage', '%', true],
    'Heap Size': ['internal/v8/heap/total', 'MiB', true],
    'Event Loop Latency p95': ['internal/libuv/latency/p95', 'ms', true],
    'Event Loop Latency': ['internal/libuv/latency/p50', 'ms', true],
    'Active handles': ['internal/libuv/handles', undefined, true],
    'Active requests': ['internal/libuv/requests', undefined, true],
    HTTP: ['internal/http/builtin/reqs', 'req/min', true],
    'HTTP P95 Latency': ['internal/http/builtin/latency/p95', 'ms', true],
    'HTTP Mean Latency': ['internal/http/builtin/latency/p50', 'ms', true],
  });
  // biome-ignore lint/suspicious/noExplicitAny: PM2's own shape
  expect(env.axm_actions.map((action: any) => action.action_name)).toEqual([
    'km:heapdump',
    'km:cpu:profiling:start',
    'km:cpu:profiling:stop',
    'km:heap:sampling:start',
    'km:heap:sampling:stop',
  ]);
  expect(env.axm_options).toMatchObject({
    error: true,
    heapdump: true,
    module_name: 'plain',
    apm: { type: 'node' },
  });
  const said = JSON.parse(pm.file('logs', 'plain-out.log'));
  expect(said.execArgv).not.toContain('--require');
  expect(said.title).toBe(`node ${path.join(apps, 'plain.js')}`);
});

test('errors are told on the bus; only an exception ends the app', async () => {
  await start();
  await monitored('plain');
  const { pid } = await pm.app('plain');
  const found = await clientProgram(
    pm,
    `const bus = await call('launchBus');
    const fail = (how) => {
      const told = new Promise((ok) => bus.on('process:exception', (packet) => ok(packet)));
      return call('sendLineToStdin', 0, how + '\\n').then(() => told);
    };
    const one = await fail('reject');
    bus.off('process:exception');
    const [{ pid }] = await call('list');
    const two = await fail('throw');
    return { one: one.data, who: one.process, pid, two: two.data };`,
  );
  expect(found).toMatchObject({
    one: { message: 'lost promise', name: 'TypeError', callsite: expect.stringMatching(/plain\.js:\d+$/) },
    who: { pm_id: 0, name: 'plain', namespace: 'default' },
    pid,
    two: {
      message: 'not caught',
      name: 'RangeError',
      context: expect.stringMatching(/^>>.*throw new RangeError/m),
    },
  });
  await until('it was started again', async () => (await pm.app('plain')).pm2_env.restart_time === 1);
  expect(pm.file('logs', 'plain-error.log')).toContain('TypeError: lost promise\n    at ');
});

test('profiles of a running app come by the bus', async () => {
  await start();
  await monitored('plain');
  const found = await clientProgram(
    pm,
    `const bus = await call('launchBus');
    const seen = {};
    const wanted = ['cpuprofile', 'heapprofile', 'heapdump'];
    const replies = [];
    bus.on('axm:reply', (packet) => replies.push([packet.data.action_name, packet.data.return.success]));
    const all = new Promise((ok) => bus.on('profilings', ({ data }) => {
      const text = JSON.parse(data.data);
      seen[data.type] = Array.isArray(text.nodes) ? text.nodes.length > 0 : typeof text.head;
      if (wanted.every((type) => type in seen)) ok();
    }));
    const pause = (ms) => new Promise((ok) => setTimeout(ok, ms));
    const trigger = (msg) => new Promise((ok) => pm2.Client.executeRemote('msgProcess', { id: 0, msg }, ok));
    const until = async (n) => { while (replies.length < n) await pause(10); };
    for (const kind of ['km:cpu:profiling', 'km:heap:sampling']) {
      const before = replies.length;
      await trigger(kind + ':start');
      await until(before + 1);
      await trigger(kind + ':stop');
      await until(before + 2);
    }
    await trigger('km:heapdump');
    await all;
    return { seen, replies };`,
  );
  expect(found.seen).toEqual({ cpuprofile: true, heapprofile: 'object', heapdump: true });
  expect(found.replies).toEqual(
    expect.arrayContaining([
      ['km:cpu:profiling:start', true],
      ['km:cpu:profiling:stop', true],
      ['km:heap:sampling:start', true],
      ['km:heap:sampling:stop', true],
    ]),
  );
});

test('workers of a cluster are monitored too, and tell an error once', async () => {
  const script = path.join(pm.dir, 'worker.js');
  writeFileSync(
    script,
    `require('node:http').createServer((_q, r) => r.end()).listen(0);
process.on('message', (message) => { if (message.topic === 'fail') Promise.reject(new Error('in a worker')); });`,
  );
  await pm.ok('start', script, '-i', '2');
  await until('both tell their metrics', async () => {
    const list = await pm.list();
    return list.length === 2 && list.every((entry) => entry.pm2_env.axm_monitor['Heap Size']);
  });
  const found = await clientProgram(
    pm,
    `const bus = await call('launchBus');
    const told = [];
    bus.on('process:exception', (packet) => told.push([packet.process.pm_id, packet.data.message]));
    for (const id of [0, 1]) await call('sendDataToProcessId', { id, type: 'process:msg', topic: 'fail', data: 1 });
    while (new Set(told.map(([id]) => id)).size < 2) await new Promise((ok) => setTimeout(ok, 20));
    await new Promise((ok) => setTimeout(ok, 300));
    return { told: told.sort() };`,
  );
  const told = found.told as [number, string][];
  expect(new Set(told.map(([, message]) => message))).toEqual(new Set(['in a worker']));
  if (underTest === 'ours') expect(told.map(([id]) => id)).toEqual([0, 1]);
  expect((await pm.list()).map((entry) => entry.pm2_env.restart_time)).toEqual([0, 0]);
});

test('who refuses it has none of it', async () => {
  await start('--no-pmx');
  await until('it runs', () => pm.file('logs', 'plain-out.log').includes('execArgv'));
  await pm.ok('start', path.join(apps, 'plain.js'), '--name', 'other', '-f');
  await monitored('other');
  const { pm2_env: env } = await pm.app('plain');
  expect([env.axm_monitor, env.axm_actions]).toEqual([{}, []]);
});

onlyOurs('it stands aside for the library of the app, and is nothing to its children', async () => {
  const script = path.join(pm.dir, 'parent.js');
  const library = path.join(apps, '../node_modules/@pm2/io');
  writeFileSync(
    script,
    `const io = require(${JSON.stringify(library)}).init();
const child = require('node:child_process').fork(__filename.replace('parent', 'child'));
child.on('message', (message) => console.log('child said', JSON.stringify(message)));`,
  );
  writeFileSync(script.replace('parent', 'child'), `process.send('hello'); setInterval(() => {}, 1000);`);
  await pm.ok('start', script);
  const env = await until('its library speaks', async () => {
    const { pm2_env } = await pm.app('parent');
    return pm2_env.axm_options.apm?.version === '6.1.0' && pm2_env.axm_monitor['Heap Size'] && pm2_env;
  });
  expect(env.axm_monitor).not.toHaveProperty('Event Loop Utilization');
  expect(pm.file('logs', 'parent-out.log')).toBe('child said "hello"\n');
});

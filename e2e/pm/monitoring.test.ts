// What apps tell of themselves: kept in the list and published on the bus. The app's side is the unmodified @pm2/io.
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { clientProgram } from '../lib/client.ts';
import { Manager } from '../lib/manager.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(async () => {
  pm = new Manager();
  // Without the monitoring that PM2 injects, which would stand in for the app's own.
  await pm.ok('start', path.join(apps, 'instrumented.js'), '--name', 'shop', '--no-pmx');
});
afterEach(() => pm.dispose());

/** Waits until the app has told its metrics. */
const told = () =>
  until('the metrics are known', async () => {
    const entry = await pm.app('shop');
    return entry.pm2_env.axm_monitor.Orders && entry.pm2_env.axm_monitor['Heap Size'] && entry.pm2_env;
  });

test('metrics, actions and options are kept as they were told', async () => {
  const env = await told();
  expect(env.axm_monitor.Orders).toEqual({ historic: true, unit: 'orders', type: 'app/orders', value: 42 });
  expect(env.axm_monitor.Count).toMatchObject({ value: 2 });
  expect(env.axm_monitor['Heap Size']).toMatchObject({ unit: 'MiB', type: 'internal/v8/heap/total' });
  // biome-ignore lint/suspicious/noExplicitAny: PM2's own shape
  const actions = env.axm_actions.map((action: any) => [action.action_name, action.action_type]);
  expect(actions).toEqual([
    ['km:heapdump', 'internal'],
    ['km:cpu:profiling:start', 'internal'],
    ['km:cpu:profiling:stop', 'internal'],
    ['km:heap:sampling:start', 'internal'],
    ['km:heap:sampling:stop', 'internal'],
    ['greet', 'custom'],
    ['echo', 'custom'],
    ['twice', 'custom'],
    ['stream', 'scoped'],
  ]);
  expect(env.axm_options).toMatchObject({
    human_info: [['Port', 80]],
    error: true,
    apm: { type: 'node', version: '6.1.0' },
  });
  expect(env.axm_dynamic).toEqual({});
  const { stdout } = await pm.ok('describe', 'shop');
  expect(stdout).toMatch(/│ Orders +│ 42 orders +│/);
  expect(stdout).toMatch(/│ greet +│/);
});

test('what an app tells ends with it', async () => {
  await told();
  await pm.ok('stop', 'shop');
  const { pm2_env: env } = await pm.app('shop');
  expect([env.axm_actions, env.axm_monitor]).toEqual([[], {}]);
});

describe('the bus', () => {
  test('every topic has its shape', async () => {
    const found = await clientProgram(
      pm,
      `const wanted = ['process:exception', 'human:event', 'own:topic', 'axm:trace', 'process:msg'];
      const bus = await call('launchBus');
      const seen = {};
      await new Promise((done) => bus.on('*', (topic, packet) => {
        if (topic === 'process:msg') (seen[topic] ??= []).push(packet);
        else seen[topic] = packet;
        if (wanted.every((topic) => seen[topic]) && seen['process:msg'].length >= 6) done();
      }));
      return seen;`,
    );
    const process = { pm_id: 0, name: 'shop', namespace: 'default' };
    const at = expect.any(Number);
    expect(found['own:topic']).toEqual({ at, data: { a: [1, 'ü'] }, process });
    expect(found['axm:trace']).toEqual({ at, data: { traceId: 'x' }, process });
    expect(found['human:event']).toEqual({ at, data: { number: 7, __name: 'order:placed' }, process });
    expect(found['process:exception']).toMatchObject({
      at,
      data: { message: 'reported by hand', name: 'Error', metadata: { custom: { order: 7 } } },
      process,
    });
    // biome-ignore lint/suspicious/noExplicitAny: PM2's own shape
    const raw = found['process:msg'] as any[];
    for (const said of [{ type: 'empty', data: 0 }, { no: 'type' }, ['raw', 1]]) {
      expect(raw).toContainEqual({ at, process, raw: said });
    }
    for (const kept of ['axm:monitor', 'axm:action', 'axm:option:configuration', 'axm:option:setPID']) {
      expect(found).not.toHaveProperty(kept);
    }
  });

  test('answers of actions, and the parts of a scoped one', async () => {
    await told();
    // @pm2/io stops listening for a moment every few seconds, and what is said to it then is lost, with the original too: ask again.
    const answer = async (...args: unknown[]) => {
      const words = args.map((arg) => JSON.stringify(arg)).join();
      const { back } = await clientProgram(
        pm,
        `const ask = () => new Promise((ok, no) => pm2.trigger(${words}, (e, v) => (e ? no(e) : ok(v))));
        let found;
        while (!found) found = await Promise.race([ask(), new Promise((ok) => setTimeout(ok, 1500))]);
        const [first] = found;
        return { back: first.data.return };`,
      );
      return back;
    };
    expect(await answer('shop', 'greet')).toEqual({ greeting: 'hello' });
    expect(await answer(0, 'echo', { deep: ['x', 1] })).toEqual({ param: { deep: ['x', 1] } });
    const { seen } = await clientProgram(
      pm,
      `const bus = await call('launchBus');
      const seen = {};
      const wanted = ['stream', 'error', 'end'].map((kind) => 'axm:scoped_action:' + kind);
      const parts = new Promise((done) => bus.on('*', (topic, packet) => {
        if (wanted.includes(topic)) seen[topic] = packet.data;
        if (wanted.every((topic) => seen[topic])) done();
      }));
      const ask = () => pm2.Client.executeRemote('msgProcess', { id: 0, msg: 'stream', opts: {}, uuid: 'abc' }, () => {});
      ask();
      const again = setInterval(ask, 1500);
      await parts;
      clearInterval(again);
      return { seen };`,
    );
    expect(seen).toMatchObject({
      'axm:scoped_action:stream': { data: 'part one', uuid: 'abc', action_name: 'stream' },
      'axm:scoped_action:error': { data: 'something', uuid: 'abc', action_name: 'stream' },
      'axm:scoped_action:end': { uuid: 'abc', action_name: 'stream' },
    });
  });
});

// The daemon's methods called as they are: what they answer, and in which words they refuse.
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { Rpc } from '../lib/rpc.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
let rpc: Rpc;
beforeEach(async () => {
  pm = new Manager();
  await pm.ok('start', path.join(apps, 'acts.js'), '--name', 'up', '--namespace', 'web');
  await pm.ok('start', path.join(apps, 'acts.js'), '--name', 'down', '-f', '--no-autostart');
  await until('the actions are known', async () => (await pm.app('up')).pm2_env.axm_actions.length >= 6);
  rpc = await Rpc.connect(pm);
});
afterEach(async () => {
  rpc.close();
  await pm.dispose();
});

// biome-ignore lint/suspicious/noExplicitAny: PM2's own shape
const brief = (process: any) => `${process.pm2_env.pm_id} ${process.pm2_env.name} ${process.pm2_env.status}`;

test('refusals are in the words that programs know', async () => {
  const cases: [string, unknown[], string][] = [
    ['nope', [{}], 'method "nope" does not exist'],
    ['startProcessId', [99], '99 id unknown'],
    ['startProcessId', [0], 'process already online'],
    ['stopProcessId', [99], '99 : id unknown'],
    ['restartProcessId', [{}], 'opts.id not passed to restartProcessId'],
    ['restartProcessId', [{ id: 99, env: {} }], 'God db process id unknown'],
    ['duplicateProcessId', [99], '99 id unknown'],
    ['deleteProcessId', [99], '99 : id unknown'],
    ['resetMetaProcessId', [99], '99 id unknown'],
    ['resetMetaProcessId', ['all'], 'all id unknown'],
    ['sendSignalToProcessId', [{ process_id: 99, signal: 'SIGCONT' }], '99 id unknown'],
    ['sendSignalToProcessId', [{}], 'undefined id unknown'],
    [
      'sendSignalToProcessId',
      [{ process_id: 0, signal: 'SIGFOO' }],
      'Error when sending signal (signal unknown)',
    ],
    ['sendSignalToProcessName', [{ process_name: 'nobody', signal: 'SIGCONT' }], 'Unknown process name'],
    ['sendSignalToProcessName', [{ process_name: 'up', signal: 'SIGFOO' }], 'Unknown signal: SIGFOO'],
    ['sendLineToStdin', [{}], 'pm_id or line field missing'],
    ['sendLineToStdin', [{ pm_id: 0 }], 'pm_id or line field missing'],
    ['sendLineToStdin', [{ line: 'x' }], 'pm_id or line field missing'],
    ['sendLineToStdin', [{ pm_id: 99, line: 'x' }], 'Process with ID <99> unknown.'],
    ['sendLineToStdin', [{ pm_id: 1, line: 'x' }], 'Process with ID <1> offline.'],
    ['sendDataToProcessId', [{}], 'ID, DATA or TOPIC field is missing'],
    ['sendDataToProcessId', [{ id: 0, data: 1 }], 'ID, DATA or TOPIC field is missing'],
    ['sendDataToProcessId', [{ id: 0, topic: 'x' }], 'ID, DATA or TOPIC field is missing'],
    ['sendDataToProcessId', [{ id: 0, data: 1, topic: 0 }], 'ID, DATA or TOPIC field is missing'],
    ['sendDataToProcessId', [{ id: 99, data: 1, topic: 'x' }], 'Process with ID <99> unknown.'],
    ['sendDataToProcessId', [{ id: 1, data: 1, topic: 'x' }], 'Process with ID <1> offline.'],
    ['msgProcess', [{}], 'method requires name or id field'],
    ['msgProcess', [{ msg: 'hello' }], 'method requires name or id field'],
    ['msgProcess', [{ id: 99, msg: 'hello' }], '99 id unknown'],
    ['msgProcess', [{ id: 0, msg: 'nope' }], "Action doesn't exist nope for up"],
    ['msgProcess', [{ id: 0 }], "Action doesn't exist undefined for up"],
    ['msgProcess', [{ id: 1, msg: 'hello' }], "Action doesn't exist hello for down"],
    ['notifyByProcessId', [{}], 'process id missing'],
    ['notifyByProcessId', [{ id: 99, action_name: 'x', manually: true }], 'process id doesnt exists'],
    ['monitor', [99], 'Unknown pm_id'],
    ['unmonitor', ['up'], 'Unknown pm_id'],
  ];
  const said = [];
  for (const [method, args] of cases) said.push([method, args, await rpc.said(method, ...args)]);
  expect(said).toEqual(cases.map(([method, args, words]) => [method, args, `error: ${words}`]));
});

describe('answers', () => {
  test('numbers of processes come as numbers or as text', async () => {
    expect(brief(await rpc.call('stopProcessId', '0'))).toBe('0 up stopped');
    expect(brief(await rpc.call('startProcessId', '0'))).toBe('0 up online');
    expect(brief(await rpc.call('restartProcessId', { id: '0', env: {} }))).toBe('0 up online');
    expect(brief(await rpc.call('deleteProcessId', '1'))).toBe('1 down stopped');
    expect(brief(await rpc.call('duplicateProcessId', '0'))).toBe('2 up online');
    expect(await rpc.call('monitor', '0')).toEqual({ success: true, pm_id: '0' });
    expect(await rpc.call('unmonitor', 0)).toEqual({ success: true, pm_id: 0 });
  });

  test('a signal and a reset are answered with the whole list', async () => {
    const all = ['0 up online', '1 down stopped'];
    for (const [method, argument] of [
      ['sendSignalToProcessId', { process_id: 0, signal: 'SIGCONT' }],
      ['sendSignalToProcessId', { process_id: '0', signal: 18 }],
      ['sendSignalToProcessName', { process_name: 'up', signal: 'SIGCONT' }],
      ['resetMetaProcessId', 0],
    ] as const) {
      expect((await rpc.call(method, argument)).map(brief)).toEqual(all);
    }
  });

  test('messages reach the app as they are', async () => {
    for (const data of [0, '', null, false, { deep: ['ü', 1.5] }]) {
      const packet = { id: 0, type: 'process:msg', data, topic: 'x' };
      expect(await rpc.call('sendDataToProcessId', packet)).toEqual({ success: true, data: packet });
      await until('it is heard', () =>
        pm.file('logs', 'up-out.log').includes(`packet ${JSON.stringify(packet)}\n`),
      );
    }
    expect(await rpc.call('sendLineToStdin', { pm_id: 0, line: 'no end' })).toEqual({
      pm_id: 0,
      line: 'no end',
    });
    await until('it is heard', () => pm.file('logs', 'up-out.log').includes('typed "no end"\n'));
  });

  test('actions are addressed by number, name, namespace, script or all', async () => {
    for (const [command, count] of [
      [{ id: '0', msg: 'hello' }, 1],
      [{ id: 0, msg: 'hello', opts: { x: 1 }, uuid: 'u' }, 1],
      [{ name: 'up', msg: 'hello' }, 1],
      [{ name: 'web', msg: 'hello' }, 1],
      [{ name: 'acts.js', msg: 'hello' }, 1],
      [{ name: 'all', msg: 'hello' }, 1],
      [{ name: 'acts', msg: 'hello' }, 0],
      [{ name: 'up', msg: 'nope' }, 0],
    ] as const) {
      expect([command, await rpc.call('msgProcess', command)]).toEqual([
        command,
        { process_count: count, success: true },
      ]);
    }
  });

  test('the daemon tells of itself', async () => {
    expect(await rpc.call('ping', {})).toEqual({ msg: 'pong' });
    expect(await rpc.call('getVersion', {})).toBe('7.0.4');
    expect(await rpc.call('reloadLogs', {})).toEqual({});
    const report = await rpc.call('getReport', {});
    expect(report).toMatchObject({ pm2_version: '7.0.4', managed_apps: 2 });
    expect(typeof report.started_at).toBe('number');
    const methods = await new Promise<Record<string, unknown>>((resolve, reject) =>
      rpc.methods((error, found) => (error ? reject(error) : resolve(found))),
    );
    expect(Object.keys(methods)).toHaveLength(30);
  });

  onlyOurs('a call without arguments is answered, where the original stays silent', async () => {
    for (const method of ['ping', 'getVersion', 'getMonitorData', 'reloadLogs', 'getReport', 'stopWatch']) {
      await rpc.call(method);
    }
    for (const method of ['startProcessId', 'stopProcessId', 'sendLineToStdin', 'msgProcess', 'prepare']) {
      expect(await rpc.said(method)).toMatch(/^error: /);
    }
  });
});

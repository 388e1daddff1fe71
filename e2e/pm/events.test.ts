// The order of what the bus tells of a process, and everything else that programs do with require('pm2').
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { clientProgram } from '../lib/client.ts';
import { Manager } from '../lib/manager.ts';
import { apps } from '../lib/under-test.ts';

let pm: Manager;
beforeEach(async () => {
  pm = new Manager();
  await pm.ok('ping');
});
afterEach(() => pm.dispose());

const script = JSON.stringify(path.join(apps, 'prints.js'));

/** For client programs: `told` gathers `event manually status` of each process event; `quiet` waits until no more come. */
const gather = `const bus = await call('launchBus');
  const told = [];
  let last = Date.now();
  bus.on('process:event', ({ event, manually, process }) => {
    last = Date.now();
    told.push(event + (manually ? ' manually ' : ' ') + process.status);
  });
  const quiet = async () => {
    last = Date.now();
    while (Date.now() - last < 700) await new Promise((ok) => setTimeout(ok, 50));
    return told.splice(0);
  };`;

describe('the bus tells', () => {
  test('of start, restart, stop and delete, in this order', async () => {
    const found = await clientProgram(
      pm,
      `${gather}
      await call('start', { script: ${script}, name: 'api' });
      const start = await quiet();
      await call('restart', 'api');
      const restart = await quiet();
      await call('stop', 'api');
      const stop = await quiet();
      await call('restart', 'api');
      const again = await quiet();
      await call('delete', 'api');
      return { start, restart, stop, again, remove: await quiet() };`,
    );
    expect(found).toEqual({
      start: ['online launching', 'start manually online'],
      restart: ['exit stopping', 'exit stopped', 'online launching', 'restart manually online'],
      stop: ['exit stopping', 'exit stopped', 'stop manually stopped'],
      again: ['online launching', 'restart manually online'],
      remove: ['exit stopping', 'exit stopped'],
    });
  });

  test('of crashes until the limit, and of an end by itself', async () => {
    const found = await clientProgram(
      pm,
      `${gather}
      await call('start', { script: ${JSON.stringify(path.join(apps, 'exits.js'))}, name: 'dies', max_restarts: 1, args: '3' });
      const crash = await quiet();
      await call('start', { script: ${JSON.stringify(path.join(apps, 'exits.js'))}, name: 'ends', autorestart: false, force: true });
      return { crash, end: await quiet() };`,
    );
    const [crash, end] = [found.crash, found.end] as [string[], string[]];
    expect(crash.slice(0, 1)).toEqual(['online launching']);
    expect(crash.slice(-2)).toEqual(['restart overlimit errored', 'exit errored']);
    expect(end.filter((event) => !event.startsWith('start'))).toEqual(['online launching', 'exit stopped']);
  });

  test('of the end of the daemon', async () => {
    const wait = (body: string) =>
      clientProgram(
        pm,
        `const bus = await call('launchBus');
        const told = new Promise((ok) => bus.on('pm2:kill', ok));
        // Once a line of the daemon's log has come, the daemon knows that somebody listens.
        let heard = false;
        bus.on('log:PM2', () => { heard = true; });
        while (!heard) {
          pm2.Client.executeRemote('reloadLogs', {}, () => {});
          await new Promise((ok) => setTimeout(ok, 50));
        }
        ${body}
        return { told: await told };`,
      );
    const signal = await wait(`process.kill(${pm.daemonPid()}, 'SIGTERM');`);
    expect(signal.told).toEqual({ status: 'killed', msg: 'pm2 has been killed by SIGNAL' });
    await pm.ok('ping');
    const client = await wait(`pm2.Client.executeRemote('killMe', { pid: 0 }, () => {});`);
    expect(client.told).toEqual({ status: 'killed', msg: 'pm2 has been killed via CLI' });
  });
});

describe("require('pm2')", () => {
  test('describe, reset, flush, sendSignal, dump, multi-target restart, namespaces', async () => {
    const found = await clientProgram(
      pm,
      `await call('start', { script: ${script}, name: 'a', namespace: 'web' });
      await call('start', { script: ${script}, name: 'b', namespace: 'web', force: true });
      await call('restart', 'web');
      const counts = (await call('list')).map((p) => p.pm2_env.restart_time);
      await call('reset', 'a');
      const reset = (await call('describe', 'a'))[0].pm2_env.restart_time;
      await call('flush', 'a');
      await call('sendSignalToProcessName', 'SIGCONT', 'b');
      await call('sendSignalToProcessId', 'SIGCONT', 0);
      await call('reloadLogs');
      await call('dump');
      await call('stop', 'all');
      const stopped = (await call('list')).map((p) => p.pm2_env.status);
      await call('delete', 'web');
      const version = await new Promise((ok) => pm2.Client.executeRemote('getVersion', {}, (_e, v) => ok(v)));
      return { counts, reset, stopped, left: (await call('list')).length, version };`,
    );
    expect(found).toEqual({
      counts: [1, 1],
      reset: 0,
      stopped: ['stopped', 'stopped'],
      left: 0,
      version: '7.0.4',
    });
    const dump = JSON.parse(readFileSync(path.join(pm.home, 'dump.pm2'), 'utf8'));
    expect(dump.map((app: { name: string; namespace: string }) => [app.name, app.namespace])).toEqual([
      ['a', 'web'],
      ['b', 'web'],
    ]);
  });

  test('a program that the manager runs manages others', async () => {
    const inner = path.join(pm.dir, 'inner.js');
    writeFileSync(
      inner,
      `const pm2 = require(${JSON.stringify(path.join(apps, '../node_modules/pm2'))});
pm2.connect(() => pm2.start({ script: ${script}, name: 'child' }, (error, apps) => {
  console.log(JSON.stringify({ error: error && String(error), names: apps && apps.map((app) => app.pm2_env.name) }));
  pm2.disconnect();
}));
setInterval(() => {}, 1000);`,
    );
    await pm.ok('start', inner);
    const child = await pm.status('child', 'online');
    expect(child.pid).toBeGreaterThan(0);
    expect(JSON.parse(pm.file('logs', 'inner-out.log'))).toEqual({ error: null, names: ['child'] });
  });
});

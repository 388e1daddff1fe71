// The daemon's sockets under bad company: races, stale files, garbage, too many clients.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { alive, processesWith } from '../lib/scratch.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const open = async (name: string): Promise<Socket> => {
  const socket = connect(path.join(pm.home, name));
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
};

onlyOurs('commands that race for an empty home all reach one daemon', async () => {
  const outcomes = await Promise.all(
    Array.from({ length: 8 }, (_, n) => pm.run('start', path.join(apps, 'prints.js'), '--name', `app-${n}`)),
  );
  expect(outcomes.map((outcome) => outcome.code)).toEqual(Array(8).fill(0));
  const names = (await pm.list()).map((entry) => entry.name).sort();
  expect(names).toEqual(Array.from({ length: 8 }, (_, n) => `app-${n}`));
  const titles = processesWith(`PM2_HOME=${pm.home}`).map((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, 'utf8'),
  );
  const count = (title: string) => titles.filter((line) => line.includes(title)).length;
  expect([count('God Daemon'), count('Pilothouse keeper')]).toEqual([1, 1]);
});

onlyOurs('sockets that nobody listens on any more are replaced', async () => {
  await pm.ok('ping');
  const first = pm.daemonPid();
  // Keeper and daemon at once, so that neither can start the other again.
  const both = processesWith(`PM2_HOME=${pm.home}`).filter(alive);
  for (const pid of both) process.kill(pid, 'SIGSTOP');
  for (const pid of both) process.kill(pid, 'SIGKILL');
  await until('both are gone', () => !both.some(alive));
  expect((await pm.ok('ping')).stdout).toContain("{ msg: 'pong' }");
  expect(pm.daemonPid()).not.toBe(first);
});

onlyOurs('garbage and oversized requests are cut off and told; everybody else is served', async () => {
  await pm.ok('ping');
  const daemon = pm.daemonPid();
  const endings = [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.from([0x12, 0xff, 0xff, 0xff, 0xff]), // a frame of 4 GB
    Buffer.from([0x12, 0x06, 0x40, 0, 0, 0x6a]), // one of 100 MB
  ];
  for (const bytes of endings) {
    const socket = await open('rpc.sock');
    const closed = once(socket, 'close');
    socket.resume().write(bytes);
    await closed;
  }
  // Frames that are in order but mean nothing, and a client that goes away in the middle of a word.
  const odd = await open('rpc.sock');
  odd.write(Buffer.from([0x10, 0x11, 0, 0, 0, 2, 0x6a, 0x3a, 0x12, 0, 0, 0, 3]));
  odd.destroy();
  const listener = await open('pub.sock');
  listener.write(Buffer.alloc(1_000_000, 0xfe));
  expect((await pm.ok('ping')).stdout).toContain("{ msg: 'pong' }");
  listener.destroy();
  expect(pm.daemonPid()).toBe(daemon);
  expect(alive(daemon)).toBe(true);
  const log = pm.file('pm2.log');
  expect(log).toContain('a client of the RPC socket was cut off: reading a frame: version 4');
  expect(log).toMatch(/a client of the RPC socket was cut off: reading a frame: 1048\d+ bytes announced/);
});

onlyOurs(
  'with all descriptors taken by clients, apps live on and the next free one serves again',
  async () => {
    // A daemon that may open few files: the hard limit can't be raised.
    const child = spawn(
      'bash',
      ['-c', `ulimit -n 64; exec "$0" "$@"`, pm.program.path, 'start', path.join(apps, 'prints.js')],
      {
        env: pm.env(),
        cwd: pm.dir,
        stdio: 'ignore',
      },
    );
    expect(await once(child, 'exit')).toEqual([0, null]);
    const before = await pm.app('prints');
    const crowd: Socket[] = [];
    for (let n = 0; n < 120; n++) crowd.push(await open(n % 2 ? 'pub.sock' : 'rpc.sock'));
    const waiting = pm.run('jlist');
    expect(alive(before.pid)).toBe(true);
    for (const socket of crowd) socket.destroy();
    expect((await waiting).code).toBe(0);
    const after = await pm.app('prints');
    expect([after.pid, after.pm2_env.status]).toEqual([before.pid, 'online']);
  },
);

// Bad input and bad surroundings: a clear message, a non-zero exit, nothing lost.
import { chmodSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { alive } from '../lib/scratch.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const app = (name: string) => path.join(apps, name);

test('a script that cannot be executed ends errored or stopped, and the daemon lives', async () => {
  const file = path.join(pm.dir, 'binary');
  writeFileSync(file, Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 0, 0, 0, 1, 2, 3]));
  chmodSync(file, 0o755);
  await pm.run('start', file, '--interpreter', 'none', '--name', 'broken', '--max-restarts', '2');
  await until('it is given up', async () =>
    ['errored', 'stopped'].includes((await pm.app('broken')).pm2_env.status),
  );
  await pm.ok('ping');
});

test('an interpreter that is not there is an error', async () => {
  const { code, stdout, stderr } = await pm.run(
    'start',
    app('prints.js'),
    '--interpreter',
    'no-such-interpreter',
  );
  expect(code).toBe(1);
  expect(stdout + stderr).toContain('Interpreter no-such-interpreter is NOT AVAILABLE in PATH');
});

test('a working directory that is not there does not take the daemon down', async () => {
  const file = path.join(pm.dir, 'eco.json');
  writeFileSync(
    file,
    JSON.stringify({
      apps: [{ name: 'lost', script: app('prints.js'), cwd: '/no/such/dir', max_restarts: 2 }],
    }),
  );
  await pm.run('start', file);
  await pm.ok('ping');
});

onlyOurs('a folder in the place of a script is named', async () => {
  const { code, stderr } = await pm.run('start', pm.dir, '--name', 'folder');
  expect(code).toBe(1);
  expect(stderr).toContain(pm.dir);
  expect(await pm.list()).toEqual([]);
});

onlyOurs('a script that may not be read is named', async () => {
  const script = path.join(pm.dir, 'secret.js');
  writeFileSync(script, 'setInterval(() => {}, 1000);');
  chmodSync(script, 0o000);
  const start = ['start', script];
  const program = realpathSync(pm.program.path);
  // Root may read everything, until it gives that up.
  const bare = ['--bounding-set', '-dac_override,-dac_read_search', program, ...start];
  const { code, stderr } =
    process.getuid?.() === 0 ? await pm.with({ path: 'setpriv', node: false }, bare) : await pm.run(...start);
  expect(code).toBe(1);
  expect(stderr).toContain(script);
  expect(stderr).toMatch(/permission denied/i);
  expect(await pm.list()).toEqual([]);
});

onlyOurs('a socket held by something else is named, after a moment', async () => {
  mkdirSync(pm.home, { recursive: true });
  const socket = path.join(pm.home, 'rpc.sock');
  const held = new Set<Socket>();
  const mute = createServer((connection) => held.add(connection)).listen(socket);
  await new Promise((resolve) => mute.once('listening', resolve));
  try {
    const { code, stderr } = await pm.run('list');
    expect(code).not.toBe(0);
    expect(stderr).toContain('rpc.sock');
  } finally {
    // It never reads, so it never learns that the other side has gone, and would wait for it.
    for (const connection of held) connection.destroy();
    await new Promise((resolve) => mute.close(resolve));
  }
});

onlyOurs('a home that cannot be made is named', async () => {
  const file = path.join(pm.dir, 'file');
  writeFileSync(file, '');
  const { code, stderr } = await pm.with(pm.program, ['list'], {
    env: { PM2_HOME: path.join(file, 'home') },
  });
  expect(code).not.toBe(0);
  expect(stderr).toContain(path.join(file, 'home'));
});

onlyOurs('a full disk for logs holds no app up, and is told in pm2.log', async () => {
  const script = path.join(pm.dir, 'flood.js');
  writeFileSync(
    script,
    `const fs = require('fs');
let n = 0;
const block = 'x'.repeat(1023) + '\\n';
setInterval(() => { for (let i = 0; i < 64; i += 1) fs.writeSync(1, block); n += 1; fs.writeFileSync('${pm.dir}/alive', String(n)); }, 5);`,
  );
  await pm.ok('start', script, '--name', 'flood', '-o', '/dev/full');
  await until('the app runs on', () => Number(readFileSync(path.join(pm.dir, 'alive'), 'utf8')) > 100);
  await until('pm2.log tells', () => /\/dev\/full.*No space left/i.test(pm.file('pm2.log')));
  expect((await pm.app('flood')).pm2_env.restart_time).toBe(0);
});

onlyOurs('garbage on the RPC socket harms nobody', async () => {
  await pm.ok('start', app('prints.js'));
  const { pid } = await pm.app('prints');
  for (const garbage of [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.from([0x1f, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]),
    Buffer.from([0x12, 0, 0, 0, 3, 0x6a, 0x3a, 0x7b, 0, 0, 0, 2, 0x73, 0x3a]),
    Buffer.alloc(300_000, 0x11),
  ]) {
    await new Promise<void>((resolve) => {
      const socket = connect(path.join(pm.home, 'rpc.sock'), () => socket.end(garbage));
      socket.on('error', () => {});
      socket.on('close', () => resolve());
      socket.setTimeout(1000, () => socket.destroy());
    });
  }
  await pm.ok('ping');
  expect((await pm.app('prints')).pid).toBe(pid);
  expect(alive(pid)).toBe(true);
});

onlyOurs('garbage on an app’s IPC channel harms nobody', async () => {
  const script = path.join(pm.dir, 'garbage.py');
  writeFileSync(
    script,
    `import os, time
fd = int(os.environ["NODE_CHANNEL_FD"])
for block in (b"not json\\n", b"\\xff\\xfe\\n", b"{\\n" * 1000, b'{"type":"axm:monitor","data":17}\\n', b'"ready"\\n', b"[" * 50000 + b"\\n", b"x" * 5000000 + b"\\n"):
    left = block
    while left:
        left = left[os.write(fd, left):]
print("told", flush=True)
time.sleep(1000)
`,
  );
  await pm.ok('start', script, '--name', 'garbage', '--interpreter', 'python3');
  await until('all of it was written', () => pm.file('logs/garbage-out.log').includes('told'));
  const entry = await pm.app('garbage');
  expect(entry.pm2_env).toMatchObject({ status: 'online', restart_time: 0 });
});

onlyOurs('a mistyped verb is answered with the nearest one', async () => {
  const { code, stdout, stderr } = await pm.run('restrat', 'all');
  expect(code).toBe(1);
  expect(stdout + stderr).toContain('restart');
});

test('a mistyped verb is an error', async () => {
  const { code, stdout, stderr } = await pm.run('restrat', 'all');
  expect(code).toBe(1);
  expect(stdout + stderr).toContain('Command not found');
});

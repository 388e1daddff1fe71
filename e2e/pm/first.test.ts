// First steps and helpers: `create`, `autoinstall`, and the web page of pm2-runtime.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { calledAs, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const page = async (port: number, route = '/', init: RequestInit = {}) => {
  const reply = await fetch(`http://127.0.0.1:${port}${route}`, init);
  return { status: reply.status, text: await reply.text(), type: reply.headers.get('content-type') };
};

onlyOurs.each(['http', 'cluster', 'python'])('create %s writes a project that serves', async (kind) => {
  const port = await freePort();
  const made = pm.with(pm.program, ['create', kind], { env: { PORT: String(port) } });
  expect(await made).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(`Project ${kind} written to`),
  });
  const hello = await until('it serves', () => page(port));
  expect(hello.text).toMatch(/^Hello from process \d+\n$/);
  if (kind === 'http')
    await until('it is healthy', async () => (await pm.ok('describe', kind)).stdout.includes('healthy'));
});

onlyOurs('create asks which one, and overwrites nothing', async () => {
  const asked = await pm.runWithInput('worker\n', 'create');
  expect(asked.stdout).toMatch(/1\) http .*\n.*2\) cluster .*\n.*3\) worker .*\n.*4\) python /);
  await until('it works', () => pm.file('logs', 'worker-out.log').includes('done 1 times'));
  const again = await pm.run('create', 'worker');
  expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('making the folder')]);
  expect(await pm.run('create', 'spaceship')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('spaceship is no project; there are: http, cluster, worker, python'),
  });
  expect((await pm.run('create')).stderr).toContain('nothing is no project');
});

onlyOurs('autoinstall finds services that a module can watch', async () => {
  expect((await pm.ok('autoinstall')).stdout).toMatch(/MongoDB/);
  // A program of that name stands for the service: it is known by it.
  const file = path.join(pm.dir, 'mongod');
  writeFileSync(file, readFileSync('/bin/sleep'), { mode: 0o755 });
  await pm.ok('start', file, '--interpreter', 'none', '--', '1000');
  const { stdout } = await pm.ok('autoinstall');
  expect(stdout).toContain('MongoDB runs here: pm2 install pm2-mongodb');
  expect(existsSync(path.join(pm.home, 'modules/pm2-mongodb'))).toBe(false);
});

// The original of this release calls what it has not: `Runtime.pm2.web is not a function`.
onlyOurs('pm2-runtime --web answers with host and processes', async () => {
  const port = await freePort();
  writeFileSync(path.join(pm.dir, 'app.js'), `setInterval(() => {}, 1000);`);
  const env = { WORD: 'e2e-secret' };
  const run = pm.followWith(calledAs('pm2-runtime'), { env }, 'app.js', '--web', String(port));
  const found = await until('it answers', async () => {
    const answer = await page(port);
    // biome-ignore lint/suspicious/noExplicitAny: PM2's own shape
    const all: any = JSON.parse(answer.text);
    // biome-ignore lint/suspicious/noExplicitAny: PM2's own shape
    return all.processes.some((entry: any) => entry.name === 'app') && { ...answer, all };
  });
  expect([found.status, found.type]).toEqual([200, 'application/json']);
  expect(found.all).toMatchObject({
    system_info: { hostname: expect.any(String), uptime: expect.any(Number) },
    monit: {
      loadavg: [expect.any(Number), expect.any(Number), expect.any(Number)],
      total_mem: expect.any(Number),
      free_mem: expect.any(Number),
      cpu: expect.any(Array),
      interfaces: { lo: expect.anything() },
    },
  });
  expect(found.all.monit.free_mem).toBeLessThan(found.all.monit.total_mem);
  expect((await page(port, '/other')).status).toBe(404);
  // Anybody may ask, so nothing is told of variables.
  expect(found.text).not.toContain('e2e-secret');
  expect((await page(port, '/', { method: 'POST' })).status).toBe(405);
  run.end('SIGINT');
  expect(await run.ended).toBe(0);
});

onlyOurs('pm2-runtime --web on what is no port, or is taken, says so and starts nothing', async () => {
  const taken = await freePort();
  const holder = await new Promise<import('node:net').Server>((resolve) => {
    const server = createServer().listen(taken, '0.0.0.0', () => resolve(server));
  });
  for (const [web, words] of [
    ['x', 'say a port'],
    [String(taken), `listening on 0.0.0.0:${taken}`],
  ] as const) {
    const run = pm.followWith(calledAs('pm2-runtime'), {}, 'app.js', '--web', web);
    expect(await run.ended).toBe(1);
    expect(run.stderr()).toContain(words);
    await pm.run('kill');
  }
  holder.close();
});

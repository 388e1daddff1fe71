// Bun and Deno instead of Node: what they do under the original they do here, and what their channels allow beyond that.
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { clientProgram } from '../lib/client.ts';
import { answersOf } from '../lib/cluster.ts';
import { load } from '../lib/load.ts';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { root, underTest } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

// The packages have binaries of these runtimes for one kind of machine.
const here = process.platform === 'linux' && process.arch === 'x64';
const both = test.runIf(here);
const onlyOurs = test.runIf(here && underTest === 'ours');

const runtimes = {
  bun: { interpreter: path.join(root, 'e2e/nodes/node_modules/bun/bin/bun') },
  deno: {
    interpreter: path.join(root, 'e2e/nodes/node_modules/deno/deno'),
    interpreter_args: ['run', '--allow-all'],
  },
};
type Runtime = keyof typeof runtimes;

/** Starts a module of this runtime with this configuration. */
async function start(runtime: Runtime, text: string, config: Record<string, unknown>) {
  expect(existsSync(runtimes[runtime].interpreter), 'run `npm ci` in e2e/nodes first').toBe(true);
  const script = path.join(pm.dir, 'app.mjs');
  writeFileSync(script, text);
  const file = path.join(pm.dir, 'eco.json');
  writeFileSync(
    file,
    JSON.stringify({ apps: [{ name: 'app', script, merge_logs: true, ...runtimes[runtime], ...config }] }),
  );
  await pm.ok('start', file);
}

const talker = `import process from 'node:process';
const runtime = globalThis.Bun ? 'bun' : globalThis.Deno ? 'deno' : 'node';
console.log('up', runtime, process.argv.slice(2).join(), process.env.NODE_APP_INSTANCE, process.env.OWN);
process.on('message', (message) => {
  if (message === 'greet')
    setTimeout(() => process.send({ type: 'axm:reply', data: { action_name: 'greet', return: runtime } }), 100);
  if (message === 'shutdown') {
    console.log('told to shut down');
    process.exit(0);
  }
  if (message?.topic === 'measure')
    process.send({ type: 'measured', data: { length: message.data.length, text: message.data.slice(0, 7) } });
  if (message?.topic === 'fill') process.send({ type: 'filled', data: 'ü'.repeat(message.data) });
});
process.send({ type: 'axm:action', data: { action_name: 'greet', arity: 0 } });
process.send({ type: 'axm:monitor', data: { Queue: { value: 3, unit: 'jobs' } } });
process.send('ready');
setInterval(() => {}, 1000);`;

const talks = (runtime: Runtime) => async () => {
  await start(runtime, talker, {
    args: ['a', 'b c'],
    env: { OWN: 'yes' },
    wait_ready: true,
    shutdown_with_message: true,
  });
  const { pm2_env: env } = await pm.status('app', 'online');
  expect(env.exec_mode).toBe('fork_mode');
  expect(pm.file('logs/app-out.log')).toBe(`up ${runtime} a,b c 0 yes\n`);
  await until('its words are known', async () => {
    const { axm_actions: actions, axm_monitor: monitor } = (await pm.app('app')).pm2_env;
    return actions.length === 1 && monitor.Queue?.value === 3;
  });
  expect((await pm.ok('trigger', 'app', 'greet')).stdout).toContain(`[app:0:default]="${runtime}"`);
  const found = await clientProgram(
    pm,
    `const bus = await call('launchBus');
    const ask = (topic, data, answer) => {
      const heard = new Promise((done) => bus.on(answer, (packet) => done(packet.data)));
      return call('sendDataToProcessId', { id: 0, type: 'process:msg', topic, data }).then(() => heard);
    };
    const down = await ask('measure', 'ü€x'.repeat(500_000), 'measured');
    const up = await ask('fill', 1_000_000, 'filled');
    return { down, up: up.length, last: up.at(-1) };`,
  );
  expect(found).toEqual({ down: { length: 1_500_000, text: 'ü€xü€xü' }, up: 1_000_000, last: 'ü' });
  await pm.ok('stop', 'app');
  expect(pm.file('logs/app-out.log')).toContain('told to shut down');
  expect((await pm.app('app')).pm2_env).toMatchObject({ status: 'stopped', exit_code: 0 });
};

both('Bun has its channel, its arguments and its actions', talks('bun'));
both('Deno has its channel, its arguments and its actions', talks('deno'));

const failing = (runtime: Runtime) => async () => {
  await start(runtime, `throw new Error('nobody catches this');`, { max_restarts: 2, min_uptime: 5000 });
  await pm.status('app', 'errored');
  expect(pm.file('logs/app-error.log')).toContain('nobody catches this');
};
both('Bun that fails is restarted and given up', failing('bun'));
both('Deno that fails is restarted and given up', failing('deno'));

const server = `import cluster from 'node:cluster';
import http from 'node:http';
import process from 'node:process';
http.createServer((_, response) => {
  response.end(JSON.stringify({ pid: process.pid, id: cluster.worker?.id, worker: cluster.isWorker }));
}).listen(Number(process.env.PORT), '127.0.0.1');`;

const inCluster = (runtime: Runtime, text: string) => async () => {
  const port = await freePort();
  await start(runtime, text, { exec_mode: 'cluster', instances: 2, env: { PORT: port } });
  const list = await pm.list();
  expect(list.map((entry) => entry.pm2_env.exec_mode)).toEqual(['cluster_mode', 'cluster_mode']);
  const answers = await answersOf(port, 2);
  expect([...answers.keys()].sort()).toEqual(list.map((entry) => entry.pid).sort());
  for (const answer of answers.values()) expect(answer.worker).toBe(true);
  return port;
};

both('Bun serves in cluster mode', async () => {
  await inCluster('bun', server)();
});
// The original starts Node, whatever the interpreter is called.
onlyOurs('Deno serves in cluster mode', async () => {
  await inCluster('deno', server)();
});

/** A server that speaks just enough of HTTP by itself: Bun's own binds past the primary. */
const plain = `import cluster from 'node:cluster';
import net from 'node:net';
import process from 'node:process';
net.createServer((socket) => {
  socket.on('error', () => {});
  socket.once('data', () => {
    const body = JSON.stringify({ pid: process.pid, id: cluster.worker?.id, worker: cluster.isWorker });
    socket.end('HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: ' + body.length + '\\r\\n\\r\\n' + body);
  });
}).listen(Number(process.env.PORT), '127.0.0.1');`;

const survives = (runtime: Runtime, text: string) => async () => {
  const port = await inCluster(runtime, text)();
  const clients = load(port, { clients: 8 });
  try {
    await until('the load runs', () => clients.seen.ok > 50);
    const before = (await pm.list()).map((entry) => entry.pid);
    const old = pm.daemonPid();
    process.kill(old, 'SIGKILL');
    await until('a successor', () => pm.daemonPid() !== old);
    expect((await pm.list()).map((entry) => entry.pid)).toEqual(before);
    await pm.ok('reload', 'app');
    const after = (await pm.list()).map((entry) => entry.pid);
    await until('the new ones serve', () => after.every((pid) => clients.seen.byPid[pid]));
  } finally {
    await clients.stop();
  }
  expect(clients.seen.failures).toEqual({});
};
onlyOurs('Bun loses no connection when the daemon dies and in a reload', survives('bun', plain));
onlyOurs('Deno loses no connection when the daemon dies and in a reload', survives('deno', plain));

// Cluster mode: two workers of a Node app on one port, and clients that make a connection for each request.
import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { cpuSeconds, freePort, until } from './sides.mjs';

const CLIENTS = 16;
const SECONDS = 3;

const app = (delay) => `const http = require('node:http');
const answer = ${delay ? '(r) => setTimeout(() => r.end("hello"), 20 + 180 * Math.random())' : '(r) => r.end("hello")'};
http.createServer((_, response) => answer(response)).listen(Number(process.env.PORT), '127.0.0.1');
`;

/** Clients that run until they are told to end; then what they counted. */
function load(dir, port) {
  const program = path.join(dir, 'load');
  execFileSync('cc', ['-O2', '-pthread', '-o', program, path.join(import.meta.dirname, 'load.c')]);
  const child = spawn(program, [String(port), String(CLIENTS)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  const ended = new Promise((resolve) => child.on('close', resolve));
  return async () => {
    child.kill('SIGTERM');
    await ended;
    const [answered, failed, p99] = text.split(' ').map(Number);
    return { answered, failed, p99 };
  };
}

const serves = (port) =>
  until(() => fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } }).then((r) => r.ok, () => false));
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** Runs the app with two workers under a manager, and what is to be measured. */
const withWorkers = (side, policy, delay, work) =>
  side.home(
    async (home) => {
      const script = path.join(home.dir, 'app.js');
      writeFileSync(script, app(delay));
      const port = await freePort();
      const file = path.join(home.dir, 'eco.json');
      const env = { PORT: port, NODE_CLUSTER_SCHED_POLICY: policy };
      writeFileSync(file, JSON.stringify({ apps: [{ name: 'app', script, instances: 2, exec_mode: 'cluster', env }] }));
      home.run('start', file);
      await serves(port);
      await pause(1);
      return work(home, port);
    },
    // The real pm2 reads it from the environment of its daemon.
    { NODE_CLUSTER_SCHED_POLICY: policy },
  );

/** Requests a second, and the primary's CPU for each in µs. */
async function rate(dir, port, primaries) {
  const used = () => primaries.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  const stop = load(dir, port);
  const before = used();
  await pause(SECONDS);
  const cpu = used() - before;
  const { answered } = await stop();
  return { perSecond: answered / SECONDS, micros: (cpu / answered) * 1e6 };
}

const measured = (policy, figure) => (side) =>
  withWorkers(side, policy, false, async (home, port) => [(await rate(home.dir, port, home.managers()))[figure]]);

/** Node's own primary in the place of the real pm2. */
const againstNode = (figure) => async (side) => {
  if (side.name === 'ours') return measured('rr', figure)(side);
  return side.home(async (home) => {
    const script = path.join(home.dir, 'primary.js');
    writeFileSync(script, `const c = require('node:cluster'); if (c.isPrimary) { c.fork(); c.fork(); } else {\n${app(false)}\n}`);
    const port = await freePort();
    const child = spawn(process.execPath, [script], { env: { ...home.env, PORT: port }, stdio: 'ignore' });
    try {
      await serves(port);
      await pause(1);
      return [(await rate(home.dir, port, [child.pid]))[figure]];
    } finally {
      child.kill('SIGKILL');
      await new Promise((resolve) => child.on('exit', resolve));
    }
  });
};

export const clusterRows = [
  {
    id: 'cluster-rr',
    what: 'cluster, 2 workers: connections a second, round robin',
    unit: '/s',
    target: '5300 /s',
    more: true,
    rounds: 4,
    measure: measured('rr', 'perSecond'),
  },
  {
    id: 'cluster-shared',
    what: 'cluster, 2 workers: connections a second, shared socket',
    unit: '/s',
    target: '8900 /s',
    more: true,
    rounds: 4,
    measure: measured('none', 'perSecond'),
  },
  {
    id: 'cluster-cpu',
    what: 'cluster: CPU of the manager for each connection, round robin',
    unit: 'µs',
    target: '47 µs',
    rounds: 4,
    measure: measured('rr', 'micros'),
  },
  {
    id: 'cluster-node-rr',
    what: 'the same connections a second, against Node’s own primary (left)',
    unit: '/s',
    target: '5300 /s',
    more: true,
    rounds: 4,
    measure: againstNode('perSecond'),
  },
  {
    id: 'cluster-node-cpu',
    what: 'the same CPU, against Node’s own primary (left)',
    unit: 'µs',
    target: '47 µs',
    rounds: 4,
    measure: againstNode('micros'),
  },
  {
    id: 'cluster-lost',
    what: 'cluster: requests lost in 3 reloads of a slow app',
    unit: '',
    target: '0',
    rounds: 2,
    measure: (side) =>
      withWorkers(side, 'rr', true, async (home, port) => {
        const stop = load(home.dir, port);
        await pause(1);
        for (let n = 0; n < 3; n += 1) home.run('reload', 'app');
        await pause(1);
        return [(await stop()).failed];
      }),
  },
];

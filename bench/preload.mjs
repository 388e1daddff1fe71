// What a manager costs each Node app from within: its wrapper or preload, against the same app run by plain Node at the same time.
import { spawn } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { freePort, read, until } from './sides.mjs';

/** Tells what it has used, in µs and bytes, since it began. */
const APP = `const http = require('node:http');
http.createServer((request, response) => {
  if (request.url !== '/usage') return response.end('hello');
  const { user, system } = process.cpuUsage();
  response.end(JSON.stringify({ cpu: user + system, rss: process.memoryUsage.rss() }));
}).listen(Number(process.env.PORT), '127.0.0.1');
`;

/** CPU of a process by the scheduler's own count, which is finer than the kernel's ticks and leaves the process alone, in ms. */
const cpuMillis = (pid) =>
  readdirSync(`/proc/${pid}/task`)
    .map((task) => Number(read(`/proc/${pid}/task/${task}/schedstat`).split(' ')[0]) / 1e6)
    .reduce((sum, ms) => sum + ms, 0);

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const usage = (port) => fetch(`http://127.0.0.1:${port}/usage`, { headers: { connection: 'close' } }).then((r) => r.json());
const serves = (port) => until(() => usage(port).then(() => true, () => false));

/** Runs the app under plain Node and under a manager, side by side; `work` gets the two ports and pids. */
const withBoth = (side, work) =>
  side.home(async (home) => {
    const script = path.join(home.dir, 'app.js');
    writeFileSync(script, APP);
    const ports = [await freePort(), await freePort()];
    const plain = spawn(process.execPath, [script], { env: { ...home.env, PORT: ports[0] }, stdio: 'ignore' });
    try {
      const file = path.join(home.dir, 'eco.json');
      writeFileSync(file, JSON.stringify({ apps: [{ name: 'app', script, env: { PORT: ports[1] } }] }));
      home.run('start', file);
      await Promise.all(ports.map(serves));
      return await work(ports, [plain.pid, home.list()[0].pid]);
    } finally {
      plain.kill('SIGKILL');
      await new Promise((resolve) => plain.on('exit', resolve));
    }
  });

/** What the managed app has more than the plain one, in a figure that `take` finds by a port. */
async function more([plain, managed], take) {
  return (await take(managed)) - (await take(plain));
}

/** Sends requests on one connection, some at a time, until all are answered. */
const requests = (port, count) =>
  new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    const batch = 16;
    const text = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(batch);
    let sent = 0;
    let answered = 0;
    let rest = '';
    const next = () => {
      sent += batch;
      socket.write(text);
    };
    socket.setEncoding('latin1').on('data', (chunk) => {
      const parts = (rest + chunk).split('HTTP/1.1 200');
      answered += parts.length - 1;
      rest = parts.at(-1).slice(-11);
      if (answered >= count) socket.end();
      else if (answered >= sent) next();
    });
    socket.on('error', reject).on('close', resolve);
    next();
  });

const REQUESTS = 48_000;
async function microsOfOne(port) {
  const before = await usage(port);
  await requests(port, REQUESTS);
  return ((await usage(port)).cpu - before.cpu) / REQUESTS;
}

/** A figure of a second after the start, in which wrappers finish what they put off. */
const started = (figure) => (side) =>
  withBoth(side, async (ports) => {
    await pause(1);
    return [await more(ports, async (port) => figure(await usage(port)))];
  });

export const preloadRows = [
  {
    id: 'preload-start',
    what: 'Node app: CPU of its start, more than plain Node',
    unit: 'ms',
    target: '5 ms',
    rounds: 6,
    measure: started((told) => told.cpu / 1000),
  },
  {
    id: 'preload-memory',
    what: 'the same: memory (RSS)',
    unit: 'MB',
    target: '2 MB',
    rounds: 6,
    measure: started((told) => told.rss / 1048576),
  },
  {
    id: 'preload-request',
    what: 'the same: CPU of each HTTP request',
    unit: 'µs',
    target: '0.3 µs',
    rounds: 2,
    measure: (side) =>
      withBoth(side, async (ports) => {
        for (const port of ports) await requests(port, REQUESTS);
        const found = [];
        for (let n = 0; n < 7; n += 1) found.push(await more(ports, microsOfOne));
        return found;
      }),
  },
  {
    id: 'preload-idle',
    what: 'the same: CPU of each idle second',
    unit: 'ms',
    target: '0.2 ms',
    rounds: 2,
    measure: (side) =>
      withBoth(side, async (_, pids) => {
        // Until V8 has given back what the start took.
        await pause(20);
        const seconds = 20;
        const before = pids.map(cpuMillis);
        await pause(seconds);
        const used = pids.map((pid, at) => cpuMillis(pid) - before[at]);
        return [(used[1] - used[0]) / seconds];
      }),
  },
];

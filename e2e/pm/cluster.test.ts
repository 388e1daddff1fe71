// Cluster mode: workers of a Node app that share what they listen on.
import { createSocket } from 'node:dgram';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Answer, answersOf, ask, startCluster } from '../lib/cluster.ts';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const start = (config: Record<string, unknown>, env: Record<string, unknown> = {}) =>
  startCluster(pm, config, env);
const pids = async () => (await pm.list()).map((entry) => entry.pid);

describe('what workers share', () => {
  test('instances of a Node app share a port', async () => {
    const port = await start({});
    const list = await pm.list();
    expect(list.map((entry) => entry.pm2_env.exec_mode)).toEqual(['cluster_mode', 'cluster_mode']);
    expect(list.map((entry) => entry.pm2_env.NODE_APP_INSTANCE)).toEqual([0, 1]);
    const answers = await answersOf(port, 2);
    expect([...answers.keys()].sort()).toEqual(list.map((entry) => entry.pid).sort());
    for (const answer of answers.values()) expect(answer.worker).toBe(true);
    expect(new Set([...answers.values()].map((answer) => answer.id)).size).toBe(2);
  });

  test('as many instances as there are processors, or all but one', async () => {
    await start({ instances: 'max' });
    expect((await pm.list()).length).toBe(os.cpus().length);
    await pm.ok('delete', 'all');
    await start({ instances: -1 });
    expect((await pm.list()).length).toBe(Math.max(os.cpus().length - 1, 1));
    await pm.ok('delete', 'all');
    await pm.ok('start', path.join(apps, 'cluster.js'), '-i', '0');
    const list = await pm.list();
    expect(list.length).toBe(os.cpus().length);
    expect(list[0]?.pm2_env.exec_mode).toBe('cluster_mode');
  });

  test('ports of the kernel’s choice are the same in all workers', async () => {
    const port = await start({}, { ANY: 'yes' });
    const seen = new Set<string>();
    await until('both workers told theirs', async () => {
      const ports = (await ask(port, '/any')) as unknown as number[];
      return ports.length === 2 && ports[0] && ports[1] && seen.add(JSON.stringify(ports));
    });
    for (let n = 0; n < 6; n += 1) seen.add(JSON.stringify(await ask(port, '/any')));
    expect(seen.size).toBe(1);
    const [first, second] = JSON.parse([...seen][0] ?? '[]') as number[];
    expect(first).not.toBe(second);
    await answersOf(first ?? 0, 2);
    await answersOf(second ?? 0, 2);
  });

  test('a UNIX socket, with the permissions that were asked for', async () => {
    const socket = path.join(pm.dir, 'web.sock');
    await start({}, { SOCKET: socket });
    await answersOf(socket, 2);
    await pm.ok('delete', 'web');
    await until('the socket is removed', () => !existsSync(socket));
  });

  test('a UDP port', async () => {
    const udp = await freePort();
    await start({}, { UDP: udp });
    const client = createSocket('udp4');
    try {
      const answer = new Promise<Answer>((resolve) => {
        client.on('message', (text) => resolve(JSON.parse(text.toString())));
      });
      let answered = false;
      void answer.then(() => {
        answered = true;
      });
      await until('an answer', () => {
        client.send('?', udp, '127.0.0.1');
        return answered;
      });
      expect(await pids()).toContain((await answer).pid);
    } finally {
      client.close();
    }
  });

  test('a port that somebody else has is an error for the app', async () => {
    const port = await freePort();
    const other = createServer().listen(port, '127.0.0.1');
    try {
      await start({ merge_logs: true }, { PORT: port });
      await until(
        'both were told',
        () => pm.file('logs/web-out.log').match(/error EADDRINUSE/g)?.length === 2,
      );
    } finally {
      other.close();
    }
  });

  test('two apps on one port share it', async () => {
    const port = await start({ instances: 1 });
    await start({ name: 'second', instances: 1 }, { PORT: port });
    await answersOf(port, 2);
  });
});

test('a message with a socket is taken, and so is what comes after it', async () => {
  const script = path.join(pm.dir, 'sends.js');
  writeFileSync(
    script,
    `const server = require('node:net').createServer().listen(0, '127.0.0.1', () => {
      process.send('with a socket', server);
      process.send('after it', () => console.log('both were taken'));
    });`,
  );
  await pm.ok('start', script);
  await until('both were taken', () => pm.file('logs/sends-out.log').includes('both were taken'));
});

describe('what apps do with it', () => {
  /** Starts a script of these lines, in cluster mode. */
  async function startLines(instances: number, ...lines: string[]): Promise<number> {
    const script = path.join(pm.dir, 'lines.js');
    const first = [
      "const cluster = require('node:cluster');",
      "const http = require('node:http');",
      'const port = Number(process.env.PORT);',
      'const answer = (_, response) => response.end(JSON.stringify({ pid: process.pid }));',
    ];
    writeFileSync(script, [...first, ...lines].join('\n'));
    return start({ script, instances, merge_logs: true });
  }

  test('one that forks where it is the primary is a worker here', async () => {
    const port = await startLines(
      2,
      "if (cluster.isPrimary) { console.log('primary'); cluster.fork(); }",
      "else http.createServer(answer).listen(port, '127.0.0.1');",
    );
    await answersOf(port, 2);
    expect(pm.file('logs/web-out.log')).not.toContain('primary');
  });

  test('a server that is closed and opened again serves on', async () => {
    const port = await startLines(
      1,
      'const server = http.createServer((request, response) => {',
      "  if (request.url === '/again') server.close(() => server.listen(port, '127.0.0.1'));",
      '  answer(request, response);',
      "}).listen(port, '127.0.0.1');",
    );
    const { pid } = await until('it serves', () => ask(port));
    for (let n = 0; n < 3; n += 1) {
      await ask(port, '/again');
      expect((await until('it serves again', () => ask(port))).pid).toBe(pid);
    }
  });

  test('a worker that disconnects by itself answers what it has begun, and is replaced', async () => {
    const port = await startLines(
      1,
      'http.createServer((request, response) => {',
      "  if (request.url !== '/leave') return answer(request, response);",
      '  cluster.worker.disconnect();',
      '  setTimeout(() => answer(request, response), 300);',
      "}).listen(port, '127.0.0.1');",
    );
    const { pid } = await until('it serves', () => ask(port));
    expect((await ask(port, '/leave')).pid).toBe(pid);
    await until('another one serves', async () => (await ask(port)).pid !== pid);
  });

  test('a port for one worker alone is refused to the second', async () => {
    const port = await startLines(
      2,
      'const server = http.createServer(answer);',
      "server.on('error', (error) => console.log('error ' + error.code));",
      "server.listen({ port, host: '127.0.0.1', exclusive: true });",
      'setInterval(() => {}, 1000);',
    );
    await until('one was told', () => pm.file('logs/web-out.log').includes('error EADDRINUSE'));
    const { pid } = await ask(port);
    for (let n = 0; n < 4; n += 1) expect((await ask(port)).pid).toBe(pid);
  });

  test('workers at their limit of connections leave them to others', async () => {
    const port = await startLines(
      2,
      'const server = http.createServer((request, response) => setTimeout(() => answer(request, response), 150));',
      'server.maxConnections = 1;',
      "server.listen(port, '127.0.0.1');",
    );
    await answersOf(port, 2);
    const answers = await Promise.all(Array.from({ length: 6 }, () => ask(port)));
    expect(new Set(answers.map((answer) => answer.pid)).size).toBe(2);
  });
});

describe('workers come and go', () => {
  test('more and fewer instances', async () => {
    const port = await start({});
    await pm.ok('scale', 'web', '4');
    await answersOf(port, 4);
    await pm.ok('scale', 'web', '1');
    await until('one is left', async () => (await pm.list()).length === 1);
    const [left] = await pids();
    for (let n = 0; n < 5; n += 1) expect((await ask(port)).pid).toBe(left);
  });

  test('a worker that crashes is replaced', async () => {
    const port = await start({});
    const before = await pids();
    process.kill(before[0] ?? 0, 'SIGKILL');
    await until('another one', async () => !(await pids()).includes(before[0] ?? 0));
    await answersOf(port, 2);
  });

  test('an app that is stopped is refused, and served when it is started again', async () => {
    const port = await start({});
    await answersOf(port, 2);
    await pm.ok('stop', 'web');
    await until('nobody listens', () =>
      ask(port).then(
        () => false,
        (error) => error.code === 'ECONNREFUSED',
      ),
    );
    await pm.ok('start', 'web');
    await answersOf(port, 2);
  });

  test('an unhandled rejection is told, and the worker lives on', async () => {
    const port = await start({ instances: 1 });
    const { pid } = await until('it serves', () => ask(port));
    await ask(port, '/reject');
    await until('it is in the log', () =>
      /You have triggered an unhandledRejection[\s\S]*nobody catches this/.test(
        pm.file('logs/web-error-0.log'),
      ),
    );
    expect((await ask(port)).pid).toBe(pid);
  });

  test('an exception that nobody catches ends the worker, and another one comes', async () => {
    const port = await start({ instances: 1 });
    const { pid } = await until('it serves', () => ask(port));
    await ask(port, '/throw').catch(() => {});
    await until('another one serves', async () => (await ask(port)).pid !== pid);
    expect(pm.file('logs/web-error-0.log')).toContain('nobody catches that');
    expect((await pm.app('web')).pm2_env.restart_time).toBe(1);
  });
});

// Cluster mode on every release of Node that is supported: reloads under load of both kinds of clients.
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { load } from '../lib/load.ts';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { apps, root, underTest } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const reloads = (release: number) => async () => {
  const node = path.join(root, `e2e/nodes/node_modules/node-${release}/bin/node`);
  expect(existsSync(node), 'run `npm ci` in e2e/nodes first').toBe(true);
  const port = await freePort();
  const file = path.join(pm.dir, 'eco.json');
  const app = {
    name: 'web',
    script: path.join(apps, 'cluster.js'),
    interpreter: node,
    exec_mode: 'cluster',
    instances: 2,
    env: { PORT: port, DELAY: 40, ANY: 'yes' },
  };
  writeFileSync(file, JSON.stringify({ apps: [app] }));
  await pm.ok('start', file);
  const kinds = [load(port, { clients: 8 }), load(port, { clients: 8, keepAlive: true })];
  try {
    // Before it listens it is refused.
    await until('it serves', () => kinds.every((clients) => clients.seen.ok > 0));
    for (const clients of kinds) clients.seen.failures = {};
    await until('the load runs', () => kinds.every((clients) => clients.seen.ok > 50));
    const before = (await pm.list()).map((entry) => entry.pid);
    await pm.ok('reload', 'web');
    await pm.ok('reload', 'web');
    const after = (await pm.list()).map((entry) => entry.pid);
    for (const pid of after) expect(before).not.toContain(pid);
    await until('all new ones serve', () => after.every((pid) => kinds[0]?.seen.byPid[pid]));
  } finally {
    for (const clients of kinds) await clients.stop();
  }
  for (const clients of kinds) expect(clients.seen.failures).toEqual({});
};

// Where the packages have no binary for the machine, the Node at hand has to do: `pm/lossless`.
const onlyOurs = test.runIf(underTest === 'ours' && process.platform === 'linux' && process.arch === 'x64');

onlyOurs('Node 18', reloads(18));
onlyOurs('Node 22', reloads(22));
onlyOurs('Node 24', reloads(24));
onlyOurs('Node 26', reloads(26));

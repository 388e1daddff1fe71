// Cluster mode on every release of Node that is supported: reloads under load of both kinds of clients. And apps by older ones.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { hasReleases, realNode } from '../lib/apps.ts';
import { load } from '../lib/load.ts';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { apps, underTest } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const reloads = (release: number) => async () => {
  const node = path.join(realNode(String(release)), 'node');
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
const onlyOurs = test.runIf(underTest === 'ours' && hasReleases);

onlyOurs('Node 18', reloads(18));
onlyOurs('Node 22', reloads(22));
onlyOurs('Node 24', reloads(24));
onlyOurs('Node 26', reloads(26));

// Unlike the original, whose own scripts such a Node cannot read.
onlyOurs('an app runs by a Node that is too old for what is loaded into newer ones', async () => {
  for (const release of ['0.10', '12']) {
    const node = path.join(realNode(release), 'node');
    await pm.ok('start', path.join(apps, 'es5.js'), '--name', `by-${release}`, '--interpreter', node);
  }
  for (const release of ['0.10', '12']) {
    await until('it says its version', () =>
      pm.file(`logs/by-${release}-out.log`).includes(`runs v${release}.`),
    );
    const { pm2_env } = await pm.status(`by-${release}`, 'online');
    expect(pm2_env.node_version).toMatch(new RegExp(`^${release}\\.`));
  }
  // From then on it is known: what it was given in vain once is not tried again.
  const complaints = pm.file('logs/by-0.10-error.log');
  const runs = () => pm.file('logs/by-0.10-out.log').split('runs').length;
  const before = runs();
  await pm.ok('restart', 'all');
  await until('it runs again', () => runs() > before);
  expect(pm.file('logs/by-0.10-error.log')).toBe(complaints);
});

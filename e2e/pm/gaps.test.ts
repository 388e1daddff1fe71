// What the original does and ours does not yet: each must pass against the original and fail against ours.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { apps, gap } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const app = (name: string) => path.join(apps, name);
const soon = { within: 5000 };

gap('cluster mode', 'instances of a Node app share a port', async () => {
  const port = await freePort();
  const file = path.join(pm.dir, 'eco.json');
  writeFileSync(
    file,
    JSON.stringify({ apps: [{ name: 'http', script: app('http.js'), instances: 2, env: { PORT: port } }] }),
  );
  await pm.ok('start', file);
  const list = await pm.list();
  expect(list.map((entry) => entry.pm2_env.exec_mode)).toEqual(['cluster_mode', 'cluster_mode']);
  const pids = new Set<string>();
  await until(
    'both instances answered',
    async () => {
      pids.add(await (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })).text());
      return pids.size === 2;
    },
    soon,
  );
});

gap('cron restart', 'a cron pattern restarts the app', async () => {
  await pm.ok('start', app('prints.js'), '--cron-restart', '* * * * * *');
  await until('a restart', async () => (await pm.app('prints')).pm2_env.restart_time > 0, soon);
});

import path from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { apps, gap } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const app = (name: string) => path.join(apps, name);
const soon = { within: 5000 };

gap('cron restart', 'a cron pattern restarts the app', async () => {
  await pm.ok('start', app('prints.js'), '--cron-restart', '* * * * * *');
  await until('a restart', async () => (await pm.app('prints')).pm2_env.restart_time > 0, soon);
});

// The full screen, on a real terminal. The original's is another program altogether; only that both open one and give it back is alike.
import path from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { drawnBy } from '../lib/screen.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const opens = '\u001b[?1049h';
const closes = '\u001b[?1049l';

onlyOurs(
  'monit shows processes and logs, restarts what one confirms, and gives the terminal back',
  async () => {
    await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'chatty');
    const screen = pm.onTerminal(120, 30, 'monit');
    const shows = async (text: string) => (await drawnBy(screen, 120, 30)).includes(text);
    await until('the list is drawn', async () => (await shows('chatty')) && shows('1 online'));
    expect(screen.text()).toContain(opens);
    await until('the log is drawn', () => shows('logs of chatty'));

    screen.type('r');
    await until('the question is drawn', () => shows('Restart chatty (0)?'));
    expect((await pm.app('chatty')).pm2_env.restart_time).toBe(0);
    screen.type('y');
    await until('a restart', async () => (await pm.app('chatty')).pm2_env.restart_time === 1);
    await until('its result is told', () => shows('done'));

    screen.type('q');
    expect(await screen.ended).toBe(0);
    expect(screen.text()).toContain(closes);
    expect((await pm.app('chatty')).pm2_env.status).toBe('online');
  },
);

onlyOurs('monit ends with Ctrl-C and gives the terminal back', async () => {
  await pm.ok('start', path.join(apps, 'prints.js'));
  const screen = pm.onTerminal(80, 24, 'monit');
  await until('the list is drawn', async () => (await drawnBy(screen, 80, 24)).includes('prints'));
  // Ctrl-C is a key here.
  screen.type('\u0003');
  expect(await screen.ended).toBe(0);
  expect(screen.text()).toContain(closes);
});

onlyOurs('monit without a terminal says so and names what scripts can use', async () => {
  const { code, stderr } = await pm.run('monit');
  expect(code).toBe(1);
  expect(stderr).toContain('terminal');
  expect(stderr).toContain('jlist');
});

// The dashboard as a person sees it: everything is started for real, clicked for real, and held against what the daemon says.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Browser, Locator } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Dashboard, launch } from '../lib/browser.ts';
import { Hub } from '../lib/hub.ts';
import { Manager } from '../lib/manager.ts';
import { apps, ourBinary } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let browser: Browser;
let hub: Hub;
let pm: Manager;
let dashboard: Dashboard;

const app = (name: string) => path.join(apps, name);

beforeAll(async () => {
  [browser, hub] = await Promise.all([launch(), Hub.start()]);
  pm = new Manager(ourBinary);
  await pm.ok('start', app('loop.py'), '--name', 'ticker');
  await pm.ok('start', app('prints.js'), '--name', 'printer');
  const more = path.join(pm.dir, 'more.json');
  writeFileSync(
    more,
    JSON.stringify({
      apps: [
        { name: 'api', script: app('http.js'), instances: 3, exec_mode: 'fork', env: { PORT: 0 } },
        { name: 'mailer', script: app('exits.js'), max_restarts: 2 },
        { name: 'nightly', script: app('ready.js'), autostart: false },
      ],
    }),
  );
  await pm.ok('start', more);
  await pm.status('mailer', 'errored');
  const { secret_key, public_key, url } = hub.facts;
  await pm.ok('link', secret_key, public_key, 'box', '--info-node', url);
  await hub.server('box', (server) => server.data.process.length === 7);
});
afterAll(async () => {
  await browser?.close();
  await pm?.dispose();
  await hub?.dispose();
});
beforeEach(async () => {
  dashboard = await Dashboard.open(browser, hub);
});
afterEach(async () => {
  await dashboard.close();
  expect(dashboard.problems).toEqual([]);
});

const row = (name: string): Locator => dashboard.page.locator('[data-kind="app"]', { hasText: name });
const says = (locator: Locator, pattern: RegExp) =>
  until(`the page says ${pattern}`, async () => pattern.test((await locator.textContent()) ?? ''));
const seen = (locator: Locator) => locator.first().waitFor({ state: 'visible' });

describe('signing in', () => {
  test('a wrong password is refused with a message', async () => {
    await dashboard.signIn('wrong');
    await seen(dashboard.page.getByRole('alert'));
    await dashboard.shot('login-refused');
    dashboard.forgive(/status of 4\d\d/);
    expect(await row('ticker').count()).toBe(0);
  });

  test('the right one leads to the servers; a reload stays signed in', async () => {
    await dashboard.shot('login');
    await dashboard.signIn();
    await seen(row('ticker'));
    await dashboard.page.reload();
    await seen(row('ticker'));
  });
});

test('a session that is over leads to signing in, and back to where one was', async () => {
  await dashboard.signIn();
  await seen(row('ticker'));
  await dashboard.page.goto(`${hub.facts.url}/#/bucket/${hub.facts.bucket}/settings/servers`);
  await seen(dashboard.page.locator('[data-test="server-box"]'));
  await dashboard.page.context().clearCookies();
  await dashboard.page.reload();
  await seen(dashboard.page.getByLabel(/e-mail or user name/i));
  dashboard.forgive(/status of 401/);
  await dashboard.signIn();
  await seen(dashboard.page.locator('[data-test="server-box"]'));
});

describe('servers', () => {
  beforeEach(async () => {
    await dashboard.signIn();
    await seen(row('ticker'));
  });

  test('shows what runs, as the daemon says it, live', async () => {
    await says(row('ticker'), /online/);
    await says(row('printer'), /online/);
    await says(row('api'), /×3/);
    await says(row('mailer'), /errored/);
    await says(row('nightly'), /stopped/);
    await says(dashboard.page.locator('[data-test="usage"]').locator('..'), /7\s*\/\s*unlimited/);
    const memory = row('printer').locator('[data-cell="memory"]');
    await says(memory, /\d+(\.\d+)?MiB/);
    const { monit } = await pm.app('printer');
    const shown = Number.parseFloat((await memory.textContent()) ?? '');
    expect(Math.abs(shown - monit.memory / 1048576)).toBeLessThan(10);

    await pm.ok('stop', 'printer');
    await says(row('printer'), /stopped/);
    await pm.ok('start', 'printer');
    await says(row('printer'), /online/);
    await dashboard.shot('servers-dark');
  });

  test('a new process appears and a deleted one leaves without a reload', async () => {
    await pm.ok('start', app('prints.js'), '--name', 'visitor');
    await seen(row('visitor'));
    await pm.ok('delete', 'visitor');
    await row('visitor').waitFor({ state: 'detached' });
  });

  test('restart gives the process a new pid and says so', async () => {
    const before = await pm.app('printer');
    await row('printer').hover();
    await row('printer')
      .getByRole('button', { name: /^restart/i })
      .click();
    const after = await until('a new process', async () => {
      const entry = await pm.app('printer');
      return entry.pid > 0 && entry.pid !== before.pid && entry;
    });
    expect(after.pm2_env.restart_time).toBe(before.pm2_env.restart_time + 1);
    await seen(dashboard.page.locator('[data-outcome="ok"]'));
    await says(
      row('printer').locator('[data-cell="restarts"]'),
      new RegExp(`^${after.pm2_env.restart_time}$`),
    );
  });

  test('stop asks first; start brings it back', async () => {
    await row('printer').hover();
    await row('printer').getByRole('button', { name: /^stop/i }).click();
    const dialog = dashboard.page.getByRole('dialog');
    await seen(dialog);
    await dialog.getByRole('button', { name: /^stop/i }).click();
    await pm.status('printer', 'stopped');
    await says(row('printer'), /stopped/);
    await row('printer').hover();
    await row('printer')
      .getByRole('button', { name: /^start/i })
      .click();
    await pm.status('printer', 'online');
    await says(row('printer'), /online/);
  });

  test('expands to metrics and instances', async () => {
    await row('ticker').click();
    await seen(dashboard.page.locator('.detail'));
    await dashboard.shot('servers-expanded');
  });

  test('the filter narrows, / focuses it', async () => {
    await dashboard.page.keyboard.press('/');
    await dashboard.page.keyboard.type('tick');
    await row('printer').waitFor({ state: 'detached' });
    await seen(row('ticker'));
  });

  test('the connect drawer hides the secret until asked', async () => {
    await dashboard.page.getByRole('button', { name: 'Connect a server' }).click();
    const command = dashboard.page.locator('[data-test="connect-command"]');
    await seen(command);
    expect(await command.textContent()).not.toContain(hub.facts.secret_key);
    expect(await command.textContent()).toContain(hub.facts.public_key);
    await dashboard.page.getByRole('button', { name: 'Show the secret' }).click();
    expect(await command.textContent()).toContain(`link ${hub.facts.secret_key} ${hub.facts.public_key}`);
    await dashboard.shot('connect');
  });
});

describe('one app', () => {
  test('charts hold what was measured', async () => {
    await dashboard.signIn();
    await seen(row('ticker'));
    await dashboard.page.locator('[data-open-app]', { hasText: 'ticker' }).click();
    for (const metric of ['cpu', 'memory']) {
      await seen(dashboard.page.locator(`[data-metric="${metric}"] canvas`));
    }
    const figure = dashboard.page.locator('[data-metric="memory"]');
    await figure.getByRole('button', { name: 'Show as table' }).click();
    await seen(figure.locator('td'));
    const cells = await figure.locator('tbody tr').first().textContent();
    expect(cells).toMatch(/MiB/);
    await figure.getByRole('button', { name: 'Show as chart' }).click();
    await dashboard.shot('app');
  });
});

describe('logs', () => {
  test('follow live, and can be filtered', async () => {
    await dashboard.signIn();
    await seen(row('ticker'));
    await dashboard.page.goto(`${hub.facts.url}/#/bucket/${hub.facts.bucket}/logs?app=ticker`);
    const log = dashboard.page.getByRole('log');
    await says(log, /python \d+/);
    const first = await log.textContent();
    await until('more lines', async () => (await log.textContent()) !== first);
    await dashboard.shot('logs');
    await dashboard.page.getByLabel('Filter logs').fill('PYTHON');
    await says(log.locator('mark').first(), /^python$/);
    await dashboard.shot('logs-found');
    await dashboard.page.getByLabel('Filter logs').fill('no such text');
    await until('no line is left', async () => !/python \d+/.test((await log.textContent()) ?? ''));
  });
});

describe('settings', () => {
  test('the server box knows every server; deleting a stopped one forgets it', async () => {
    const guest = new Manager(ourBinary);
    const { secret_key, public_key, url } = hub.facts;
    await guest.ok('link', secret_key, public_key, 'guest', '--info-node', url);
    await hub.server('guest');
    await guest.dispose();
    await hub.server('guest', (server) => !server.active);

    await dashboard.signIn();
    await seen(row('ticker'));
    await dashboard.page.goto(`${hub.facts.url}/#/bucket/${hub.facts.bucket}/settings/servers`);
    const box = dashboard.page.locator('[data-test="server-box"]');
    await seen(box.getByText('guest'));
    await seen(box.getByText('box'));
    await dashboard.shot('settings');
    await dashboard.page.getByRole('button', { name: 'Delete server guest' }).click();
    const dialog = dashboard.page.getByRole('dialog');
    await seen(dialog);
    await dashboard.shot('settings-delete');
    await dialog.getByRole('button', { name: /^delete/i }).click();
    await box.getByText('guest').waitFor({ state: 'detached' });
    expect((await hub.status()).map((server) => server.server_name)).not.toContain('guest');
  });
});

describe('looks', () => {
  test('light, and on a phone', async () => {
    for (const [name, look] of [
      ['servers-light', { scheme: 'light' }],
      ['servers-phone', { width: 375, height: 740 }],
    ] as const) {
      const other = await Dashboard.open(browser, hub, look);
      await other.signIn();
      await seen(other.page.locator('[data-kind="app"]', { hasText: 'ticker' }));
      await other.shot(name);
      const wide = await other.page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
      expect(wide, `${name} scrolls sideways`).toBe(false);
      // A fact of a server is there in full, or not at all.
      const cut = await other.page.locator('.srv .facts > span').evaluateAll((facts) =>
        facts
          .filter((fact) => {
            const [one, line] = [fact.getBoundingClientRect(), fact.parentElement?.getBoundingClientRect()];
            return line && one.top < line.bottom && one.right > line.right + 1;
          })
          .map((fact) => fact.textContent),
      );
      expect(cut, name).toEqual([]);
      for (const tab of ['servers', 'plan', 'members', 'audit']) {
        await other.page.goto(`${hub.facts.url}/#/bucket/${hub.facts.bucket}/settings/${tab}`);
        const box = other.page.locator('.settings .box');
        await box.waitFor();
        const beyond = await box.evaluate((table) => table.scrollWidth - table.clientWidth);
        expect(beyond, `${name}: ${tab} is cut`).toBeLessThanOrEqual(0);
        await other.shot(`${name}-${tab}`);
      }
      expect(other.problems).toEqual([]);
      await other.close();
    }
  });
});

describe('when the hub is gone', () => {
  test('the page says so, keeps the values, and heals by itself', async () => {
    const own = await Hub.start();
    const other = new Manager(ourBinary);
    try {
      await other.ok('start', app('loop.py'), '--name', 'ticker');
      const { secret_key, public_key, url } = own.facts;
      await other.ok('link', secret_key, public_key, 'box', '--info-node', url);
      await own.server('box', (server) => server.data.process.length === 1);
      await dashboard.close();
      dashboard = await Dashboard.open(browser, own);
      await dashboard.signIn();
      await seen(row('ticker'));
      // What was never opened is there before it is needed.
      await until('the other pages have arrived', () =>
        dashboard.page.evaluate(() =>
          ['app-page', 'logs-page', 'settings-page', 'help'].every((part) =>
            performance.getEntriesByType('resource').some(({ name }) => name.includes(`/${part}-`)),
          ),
        ),
      );
      await own.end('SIGKILL');
      await seen(dashboard.page.getByText(/live data paused/i));
      await seen(row('ticker'));
      await dashboard.shot('lost');
      await dashboard.page.locator('[data-open-app]', { hasText: 'ticker' }).click();
      await says(dashboard.page.locator('.places'), /box/);
      await seen(dashboard.page.locator('[data-metric="memory"]').getByText(/hub does not answer/));
      await dashboard.shot('lost-app');
      await own.crashAndRestart();
      await dashboard.page
        .getByText(/live data paused/i)
        .first()
        .waitFor({ state: 'hidden' });
      // Charts are drawn anew without being told to.
      await dashboard.page
        .getByText(/hub does not answer/)
        .first()
        .waitFor({ state: 'hidden' });
      await dashboard.page.goBack();
      await says(row('ticker'), /online/);
      dashboard.forgive(/ERR_CONNECTION|WebSocket|Failed to load/);
    } finally {
      await other.dispose();
      await own.dispose();
    }
  });
});

// What can be asked of a host from the dashboard, with its live output and result: S65 of the product's list in the browser.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { newest, ours } from '../lib/agents.ts';
import { says, withDashboard } from '../lib/browser.ts';
import { Bucket } from '../lib/bucket.ts';
import { Registry } from '../lib/registry.ts';
import { Repository } from '../lib/repository.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

const { test, on } = withDashboard();

const allow = (pm: { home: string }, text: string) => writeFileSync(path.join(pm.home, 'policy.toml'), text);

test('S65: pull is asked for in a dialog, followed while it runs, and refused with the reason', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
  const pm = manager(ours.program, { PM2_ENABLE_GIT_PARSING: 'true' });
  const repo = new Repository(pm.dir);
  const config = path.join(pm.dir, 'app.json');
  const entry = { name: 'web', script: repo.app, post_update: ['echo installing what is new'] };
  writeFileSync(config, JSON.stringify({ apps: [entry] }));
  await pm.ok('start', config);
  await bucket.link(pm, 'box');
  await bucket.server('box', (server) => Boolean(server.processes[0]?.versioning));
  const second = repo.pushFromElsewhere('second');
  const { page } = dashboard;
  await page.reload();
  await page.goto(bucket.page());
  const row = page.locator('[data-kind="app"]', { hasText: 'web' });
  const openMenu = async () => {
    await row.hover();
    await row.getByRole('button', { name: 'More for web' }).click();
  };
  const pull = page.getByRole('menuitem', { name: /^Pull/ });

  // The host has not allowed it: the entry says so.
  await openMenu();
  await says(pull, /add "pull" to "allow" in its policy\.toml/);
  expect(await pull.isDisabled()).toBe(true);
  await dashboard.shot('menu-not-allowed');
  await page.keyboard.press('Escape');
  allow(pm, 'allow = ["restart", "reload", "pull"]');
  await bucket.server('box', (server) => server.allowed?.includes('pull') === true);
  const { pid } = await pm.app('web');
  await until('the menu offers it', async () => {
    await openMenu();
    if (!(await pull.isDisabled())) return true;
    await page.keyboard.press('Escape');
    return false;
  });
  await pull.click();
  const dialog = page.getByRole('dialog');
  await says(dialog, /post_update/);
  await dashboard.shot('pull-ask');
  await dialog.getByRole('button', { name: 'Pull' }).click();
  const leg = dialog.locator('[data-leg]');
  await says(dialog.locator('[data-test="said"]'), /installing what is new/);
  await until('it is completed', async () => (await leg.getAttribute('data-phase')) === 'ok');
  expect(await leg.textContent()).toContain(`Current commit ${second}`);
  await dashboard.shot('pull-done');
  expect(repo.head).toBe(second);
  expect((await pm.app('web')).pid).not.toBe(pid);
  await dialog.getByRole('button', { name: 'Close' }).last().click();

  repo.pushFromElsewhere('third');
  repo.edit('// mine\n');
  await openMenu();
  await pull.click();
  await dialog.getByRole('button', { name: 'Pull' }).click();
  await until('it failed', async () => (await leg.getAttribute('data-phase')) === 'failed');
  await says(dialog.locator('[data-test="said"]'), /changes that are not committed/);
  await says(dialog.getByRole('alert'), /^pull ended with exit code 1\.$/);
  await page.emulateMedia({ colorScheme: 'light' });
  await dashboard.shot('pull-failed-light');
  expect(repo.head).toBe(second);
});

test('S65: actions of an app take a parameter and are followed in each of its processes', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
  const pm = manager(ours.program);
  await pm.ok('start', path.join(apps, 'streams.cjs'), '--name', 'web', '-i', '3');
  await bucket.link(pm, 'box');
  await bucket.server('box', (server) => server.processes.length === 3);
  const { page } = dashboard;
  await page.reload();
  await page.goto(bucket.page());
  await page.locator('[data-kind="app"]', { hasText: 'web' }).click();
  const detail = page.locator('.detail');
  await detail.getByRole('button', { name: 'count…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Parameter').fill('{"to": 5}');
  await dashboard.shot('action-ask');
  await dialog.getByRole('button', { name: 'Run' }).click();
  const legs = dialog.locator('[data-leg]');
  await until(
    'all three are completed',
    async () => (await dialog.locator('[data-phase="ok"]').count()) === 3,
  );
  await says(dialog, /3 of 3 completed/);
  await legs.first().getByRole('button').first().click();
  await says(legs.first().locator('[data-test="said"]'), /\{"n":5\}\nalmost there/);
  await says(legs.first().locator('[data-test="result"]'), /"counted": 5/);
  await dashboard.shot('action-streams');
  await dialog.getByRole('button', { name: 'Close' }).last().click();

  // Without a parameter it runs at once; what fails says why.
  await detail.getByRole('button', { name: 'greet' }).click();
  await until(
    'all three are completed',
    async () => (await dialog.locator('[data-phase="ok"]').count()) === 3,
  );
  await dialog.getByRole('button', { name: 'Close' }).last().click();
  await detail.getByRole('button', { name: 'break…' }).click();
  await dialog.getByLabel('In').selectOption({ index: 1 });
  await dialog.getByRole('button', { name: 'Run' }).click();
  await says(dialog.getByRole('alert'), /^nothing to count$/);
  expect(await legs.count()).toBe(1);
  await page.setViewportSize({ width: 375, height: 740 });
  await dashboard.shot('action-failed-phone');
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
  expect(wide).toBe(false);
});

test('S65: a module is installed from the menu of a server, and uninstalled from its own', async ({
  manager,
  dashboard,
}) => {
  const registry = await Registry.start();
  try {
    registry.publish('e2e-far-mod', '1.2.3', 'setInterval(() => {}, 1000);');
    const bucket = await Bucket.make(on.hub);
    const pm = manager(ours.program, registry.env);
    await pm.ok('start', path.join(apps, 'loop.py'), '--name', 'ticker');
    allow(pm, 'allow = ["install", "uninstall"]');
    await bucket.link(pm, 'box');
    await bucket.server('box', (server) => server.processes.length === 1);
    const { page } = dashboard;
    await page.reload();
    await page.goto(bucket.page());
    const install = async () => {
      await page.getByRole('button', { name: 'More for server box' }).click();
      await page.getByRole('menuitem', { name: 'Install a module…' }).click();
    };
    await install();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Module').fill('--global evil');
    await dialog.getByRole('button', { name: 'Install' }).click();
    await says(dialog, /no spaces/);
    await dialog.getByLabel('Module').fill('e2e-far-mod');
    await dashboard.shot('module-ask');
    await dialog.getByRole('button', { name: 'Install' }).click();
    const leg = dialog.locator('[data-leg]');
    await until('it is installed', async () => (await leg.getAttribute('data-phase')) === 'ok');
    await says(leg, /Module successfully installed and launched/);
    await dashboard.shot('module-installed');
    await dialog.getByRole('button', { name: 'Close' }).last().click();
    const row = page.locator('[data-kind="app"]', { hasText: 'e2e-far-mod' });
    await says(row, /module/);
    await row.hover();
    await row.getByRole('button', { name: 'More for e2e-far-mod' }).click();
    await page.getByRole('menuitem', { name: 'Uninstall…' }).click();
    await dialog.getByRole('button', { name: 'Uninstall' }).click();
    await until('it is gone', async () => (await leg.getAttribute('data-phase')) === 'ok');
    await row.waitFor({ state: 'detached' });
    expect((await pm.list()).map((entry) => entry.name)).toEqual(['ticker']);
  } finally {
    await registry.dispose();
  }
});

test('S45: an app is hidden from its menu, and shown again from that of its server where the host allows it', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
  const pm = manager(ours.program);
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'web');
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'stays');
  await bucket.link(pm, 'box');
  await bucket.server('box', (server) => server.processes.length === 2);
  const { page } = dashboard;
  await page.reload();
  await page.goto(bucket.page());
  const row = page.locator('[data-kind="app"]', { hasText: 'web' });
  await row.hover();
  await row.getByRole('button', { name: 'More for web' }).click();
  await page.getByRole('menuitem', { name: /^Unmonitor/ }).click();
  const dialog = page.getByRole('dialog');
  await says(dialog, /runs on, and nothing of it will leave box.*pilothouse monitor web/);
  await dashboard.shot('unmonitor-ask');
  await dialog.getByRole('button', { name: 'Unmonitor' }).click();
  await row.waitFor({ state: 'detached' });
  expect((await pm.app('web')).pm2_env).toMatchObject({ _km_monitored: false, status: 'online' });

  const again = page.getByRole('menuitem', { name: /^Monitor an app again/ });
  const openMenu = () => page.getByRole('button', { name: 'More for server box' }).click();
  await openMenu();
  await says(again, /add "monitor" to "allow" in its policy\.toml/);
  expect(await again.isDisabled()).toBe(true);
  await page.keyboard.press('Escape');
  allow(pm, 'allow = ["monitor", "unmonitor"]');
  await until('the menu offers it', async () => {
    await openMenu();
    if (!(await again.isDisabled())) return true;
    await page.keyboard.press('Escape');
    return false;
  });
  await again.click();
  await dialog.getByRole('button', { name: 'Monitor' }).click();
  await says(dialog, /Which app\?/);
  await dialog.getByLabel('App').fill('web');
  await dashboard.shot('monitor-ask');
  await dialog.getByRole('button', { name: 'Monitor' }).click();
  const leg = dialog.locator('[data-leg]');
  await until('it is done', async () => (await leg.getAttribute('data-phase')) === 'ok');
  await dialog.getByRole('button', { name: 'Close' }).last().click();
  await row.waitFor();
});

test('one app is restarted on all its servers at once; who cannot take it is left out and named', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
  const managers = ['left', 'right', 'closed'].map((name) => ({ name, pm: manager(ours.program) }));
  const pid = new Map<string, number>();
  for (const { name, pm } of managers) {
    await pm.ok('start', path.join(apps, 'loop.py'), '--name', 'web');
    if (name === 'closed') allow(pm, 'allow = ["logs"]');
    await bucket.link(pm, name);
    await bucket.server(name, (server) => server.processes.length === 1);
    pid.set(name, (await pm.app('web')).pid);
  }
  const { page } = dashboard;
  await page.reload();
  await page.goto(bucket.page('/app/web'));
  await page.getByText('On all 3 servers').waitFor();
  await page.locator('.across').getByRole('button', { name: 'Restart…' }).click();
  const dialog = page.getByRole('dialog');
  await says(dialog, /Left out: closed \(the host does not allow it/);
  await dashboard.shot('across-ask');
  await dialog.getByRole('button', { name: 'Restart' }).click();
  await says(dialog, /2 of 2 completed/);
  await dashboard.shot('across-done');
  for (const { name, pm } of managers) {
    const now = (await pm.app('web')).pid;
    expect(now === pid.get(name), name).toBe(name === 'closed');
  }
});

test('S65: what PM2 agents do not take from afar cannot be picked, and says why', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
  const pm = manager(newest.program);
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'web');
  await bucket.link(pm, 'box');
  await bucket.server('box', (server) => server.processes.length === 1);
  const { page } = dashboard;
  await page.reload();
  await page.goto(bucket.page());
  const row = page.locator('[data-kind="app"]', { hasText: 'web' });
  await row.hover();
  const stop = row.getByRole('button', { name: /^Stop web/ });
  expect(await stop.getAttribute('aria-label')).toContain('PM2’s own agent takes no stop from here');
  await row.getByRole('button', { name: 'More for web' }).click();
  for (const [name, disabled] of [
    ['Restart', false],
    ['Reload', false],
    ['Reset counters', false],
    ['Stop…', true],
    ['Pull…', true],
    ['Unmonitor…', true],
    ['Delete…', true],
  ] as const) {
    const item = page.getByRole('menuitem', { name: new RegExp(`^${name.replace('…', '')}`) });
    expect(await item.isDisabled(), name).toBe(disabled);
    if (disabled) expect(await item.textContent(), name).toContain('PM2’s own agent takes no');
  }
  await dashboard.shot('menu-pm2-agent');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'More for server box' }).click();
  await says(page.getByRole('menuitem', { name: /^Install a module/ }), /PM2’s own agent takes no modules/);
});

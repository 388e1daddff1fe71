// Servers with something to say, as a person sees them: S41, S54, S58, S59, S61 and S62 of the product's list in the browser.
import path from 'node:path';
import type { Browser, Locator } from 'playwright-core';
import { afterAll, beforeAll, expect } from 'vitest';
import { ours, pm2Agents } from '../lib/agents.ts';
import { sleepers } from '../lib/apps.ts';
import { launch, withDashboard } from '../lib/browser.ts';
import { Bucket } from '../lib/bucket.ts';
import { Hub } from '../lib/hub.ts';
import { Narrow } from '../lib/narrow.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let browser: Browser;
let hub: Hub;
beforeAll(async () => {
  [browser, hub] = await Promise.all([launch(), Hub.start()]);
});
afterAll(async () => {
  await browser?.close();
  await hub?.dispose();
});
const test = withDashboard(() => ({ browser, hub }));

const says = (locator: Locator, pattern: RegExp) =>
  until(`the page says ${pattern}`, async () => pattern.test((await locator.textContent()) ?? ''));

test('S41 S43: the versions of PM2 and Node stand on each server, and what is old is marked with the way to renew it', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(hub);
  for (const agent of [ours, ...pm2Agents.slice(0, 1)]) {
    const pm = manager(agent.program);
    await pm.ok('start', path.join(apps, 'prints.js'));
    await bucket.link(pm, agent.short);
    await bucket.server(agent.short, (server) => server.processes.length === 1);
  }
  await dashboard.page.reload();
  await dashboard.page.goto(bucket.page());
  const server = (name: string) => dashboard.page.locator('[data-kind="server"]', { hasText: name });
  await says(server('pm2-5'), new RegExp(`node v?${process.versions.node}.*pm2 5\\.`));
  await says(server('ours'), new RegExp(`node v?${process.versions.node}.*pilothouse \\d`));
  const badge = server('pm2-5').locator('.badge');
  await says(badge, /^pm2 5\..* is old$/);
  expect(await badge.getAttribute('title')).toContain('npm install -g pm2 && pm2 update');
  expect(await server('ours').locator('.badge').count()).toBe(0);
  await dashboard.shot('versions');
});

test('S54: two servers of one name are marked, with where they are and what to do', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(hub);
  for (const name of ['left', 'right']) {
    const pm = manager(ours.program);
    await sleepers(pm, name);
    await bucket.link(pm, 'same');
  }
  await dashboard.page.reload();
  await dashboard.page.goto(bucket.page());
  const strip = dashboard.page.locator('[data-kind="strip"]');
  await says(strip.first(), /2 servers are linked as “same”.*ps -ax \| grep PM2/);
  const [box] = (await bucket.look()).servers;
  expect(await strip.first().textContent()).toContain(`${box?.username}@${box?.hostname}`);
  expect(await strip.count()).toBe(2);
  for (const name of ['left', 'right'])
    await dashboard.page.locator('[data-kind="app"]', { hasText: name }).waitFor();
  await dashboard.shot('same-name');
});

test('S58 S59 S61: "Reverse connection not established", with its hints; buttons come back by themselves', async ({
  manager,
  dashboard,
}) => {
  const narrow = await Narrow.before(hub.facts.url);
  try {
    const bucket = await Bucket.make(hub);
    const pm = manager(ours.program);
    await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'web');
    await pm.ok('link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', narrow.url);
    await bucket.server('box', (server) => server.processes.length === 1);
    await dashboard.page.reload();
    await dashboard.page.goto(bucket.page());
    const strip = dashboard.page.locator('[data-kind="strip"]');
    await strip.waitFor();
    expect(await strip.locator('b').textContent()).toBe('Reverse connection not established');
    for (const hint of ['43554', '~/.pm2/agent.log', 'pm2 link'])
      expect(await strip.textContent()).toContain(hint);
    const row = dashboard.page.locator('[data-kind="app"]', { hasText: 'web' });
    await row.hover();
    const restart = row.getByRole('button', { name: /^restart/i });
    expect(await restart.getAttribute('aria-disabled')).toBe('true');
    await dashboard.shot('reverse');

    narrow.widen();
    await strip.waitFor({ state: 'detached' });
    await until('the button works', async () => (await restart.getAttribute('aria-disabled')) !== 'true');
    const { pid } = await pm.app('web');
    await row.hover();
    await restart.click();
    await until('it was restarted', async () => (await pm.app('web')).pid !== pid);
  } finally {
    await narrow.close();
  }
});

test('S62: a host that wants no commands is shown as such, not as a fault', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(hub);
  const pm = manager(ours.program);
  await sleepers(pm, 'app');
  const words = ['link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', hub.facts.url];
  await pm.with(pm.program, words, { env: { PM2_REVERSE_INTERACT: 'false' } });
  await dashboard.page.reload();
  await dashboard.page.goto(bucket.page());
  const strip = dashboard.page.locator('[data-kind="strip"]');
  await says(strip, /disabled on this host/);
  expect(await strip.textContent()).not.toContain('not established');
});

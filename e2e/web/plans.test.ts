// What a plan watches, as a person sees it: S4, S10, S15, S19 and S21 of the product's list in the browser.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { ours } from '../lib/agents.ts';
import { sleepers } from '../lib/apps.ts';
import { says, withDashboard } from '../lib/browser.ts';
import { Bucket } from '../lib/bucket.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

const { test, on } = withDashboard();

test('S4 S10 S15 S17 S19 S21: counts and the plan in the head and in the rows', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub, { plan: 'pro_4' });
  const pm = manager(ours.program);
  await bucket.link(pm, 'box');
  await dashboard.page.reload();
  await dashboard.page.goto(bucket.page());
  const usage = dashboard.page.locator('.use');
  const row = (name: string) => dashboard.page.locator('[data-kind="app"]', { hasText: name });

  // S10: a server without a process uses nothing.
  await dashboard.page.getByText('No application has been launched').waitFor();
  await says(usage, /^0\s*\/\s*4 proc/);
  await dashboard.shot('plan-empty');

  // S4: three apps are three rows and three processes.
  await sleepers(pm, 'one', 'two', 'three');
  await says(usage, /^3\s*\/\s*4 proc/);
  for (const name of ['one', 'two', 'three']) await row(name).waitFor();
  expect(await dashboard.page.locator('[data-test="usage"].bad').count()).toBe(0);

  // S19: instances of an app are one line and count one by one; S21: some of them are over the limit.
  await pm.ok('delete', 'all');
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'web', '-i', '4');
  await says(row('web'), /×4/);
  await says(usage, /^4\s*\/\s*4 proc/);
  await pm.ok('scale', 'web', '+2');
  await says(row('web'), /×6.*4 monitored/);
  await says(usage, /^6\s*\/\s*4 proc/);

  // S15: the head is red, one more is listed as not monitored, and the rest lives on.
  expect(
    await dashboard.page.locator('[data-test="usage"]').evaluate((used) => {
      const [red, plain] = ['bad', ''].map((name) => {
        const one = document.body.appendChild(document.createElement('span'));
        one.className = name;
        return getComputedStyle(one).color;
      });
      return red !== plain && getComputedStyle(used).color === red;
    }),
  ).toBe(true);
  await sleepers(pm, 'late');
  await says(row('late'), /not monitored: plan limit/);
  await says(row('web'), /online/);
  // The hub passes on no command to it: its controls say so before somebody tries.
  await row('late').hover();
  const restart = row('late').getByRole('button', { name: /^restart/i });
  expect(await restart.getAttribute('aria-disabled')).toBe('true');
  expect(await restart.getAttribute('title')).toMatch(/plan limit/);
  await row('web').hover();
  const other = row('web').getByRole('button', { name: /^restart/i });
  expect(await other.getAttribute('aria-disabled')).not.toBe('true');
  await dashboard.shot('plan-over');

  // S17: what leaves frees its place, without a reload of the page.
  await pm.ok('delete', 'web');
  await says(row('late'), /online/);
  await says(usage, /^1\s*\/\s*4 proc/);
});

test('the use of the plan is a table: what counts, what is over, what is free', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub, { plan: 'pro_4' });
  const pm = manager(ours.program);
  const app = path.join(apps, 'loop.py');
  await pm.ok('start', app, '--name', 'first');
  await bucket.link(pm, 'box');
  await bucket.server('box', (server) => server.processes.length === 1);
  const config = path.join(pm.dir, 'more.json');
  const more = { name: 'many', script: app, instances: 4, exec_mode: 'fork' };
  writeFileSync(config, JSON.stringify({ apps: [more, { name: 'pm2-logrotate', script: app }] }));
  await pm.ok('start', config);
  await bucket.server('box', (server) => server.processes.length === 6);

  const { body } = await bucket.api('GET', '/plan');
  expect(body).toMatchObject({ plan: 'pro_4', limit: 4, used: 5, over_plan: 1, free: 1 });
  const { page } = dashboard;
  await page.reload();
  await page.goto(bucket.page('/settings/plan'));
  const cells = async (name: string) =>
    (await page.locator(`tr[data-app="${name}"] td.num`).allTextContents()).join(' ');
  await says(page.locator('[data-test="plan-total"]'), /5 of 4/);
  expect(await cells('first')).toBe('1 1 0 0');
  expect(await cells('many')).toBe('4 3 1 0');
  expect(await cells('pm2-logrotate')).toBe('0 0 0 1');
  await page.locator('tr[data-app="many"]').getByRole('button').click();
  expect(await page.getByText('counts, over the plan').count()).toBe(1);
  await dashboard.shot('plan-use');
  await page.emulateMedia({ colorScheme: 'light' });
  await dashboard.shot('plan-use-light');
  await page.setViewportSize({ width: 375, height: 740 });
  await dashboard.shot('plan-use-phone');

  // What frees a place is seen at once.
  await pm.ok('delete', 'first');
  await says(page.locator('[data-test="plan-total"]'), /4 of 4/);
  await until('nothing is over the plan', async () => (await cells('many')) === '4 4 0 0');
});

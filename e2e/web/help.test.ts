// Help, feedback and the addresses to allow, as a person sees them: S1, S2 and S40 of the product's list.
import { expect } from 'vitest';
import { Dashboard, withDashboard } from '../lib/browser.ts';
import { until } from '../lib/until.ts';

const support = 'https://issues.example.org/pilothouse';
const { test, on } = withDashboard('--support-url', support);

test('S1: help opens from every page, is searched by its full text, and needs no internet', async ({
  dashboard,
}) => {
  const { page } = dashboard;
  // Whatever is not this hub is the internet.
  await page.route(
    (url) => url.origin !== on.hub.facts.url,
    (route) => {
      dashboard.problems.push(`asked the internet: ${route.request().url()}`);
      return route.abort();
    },
  );
  const dialog = page.getByRole('dialog');
  for (const rest of ['', '/logs', '/settings/servers', '/settings/general', '/settings/members']) {
    await page.goto(`${on.hub.facts.url}/#/bucket/${on.hub.facts.bucket}${rest}`);
    await page.locator('main').waitFor();
    await page.getByTitle('Help').click();
    await dialog.waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
  }
  // On a phone, too, and before one has signed in.
  const wide = page.viewportSize();
  await page.setViewportSize({ width: 375, height: 760 });
  await page.getByTitle('Help').click();
  await dialog.waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  if (wide) await page.setViewportSize(wide);
  const stranger = await Dashboard.open(on.browser, on.hub);
  await stranger.page.getByTitle('Help').click();
  await stranger.page.locator('[data-topic="network"]').waitFor();
  await stranger.page.keyboard.press('Escape');
  await stranger.signIn();
  await stranger.page.getByRole('button', { name: 'Account' }).waitFor();
  await stranger.close();
  expect(stranger.problems).toEqual([]);
  await page.locator('body').press('?');
  await dialog.waitFor();
  expect(await page.locator('[data-topic]').count()).toBeGreaterThan(12);
  const search = page.getByLabel('Search the help');
  // What is typed is searched for.
  await page.keyboard.type('socks');
  await until('it is in the field', async () => (await search.inputValue()) === 'socks');
  for (const [words, topic] of [
    ['red dot', 'monitor'],
    ['43554', 'reverse'],
    ['socks', 'network'],
    ['-i max', 'cluster'],
    ['ps -ax', 'duplicates'],
  ] as const) {
    await search.fill(words);
    await page.locator(`[data-topic="${topic}"]`).waitFor();
    await until('the others are gone', async () => (await page.locator('[data-topic]').count()) <= 2);
  }
  await dashboard.shot('help-search');
});

test('S2: a report shows what may help before the way to the people who do', async ({ dashboard }) => {
  const { page } = dashboard;
  await page.getByTitle('Help').click();
  await page.getByRole('button', { name: 'Something is wrong, or missing' }).click();
  await page
    .getByLabel('What is wrong, or missing?')
    .fill('my server says reverse connection not established');
  const topic = page.locator('[data-topic="reverse"]');
  await topic.waitFor();
  const link = page.locator('[data-test="support"]');
  expect(await link.getAttribute('href')).toBe(support);
  const [above, below] = [await topic.boundingBox(), await link.boundingBox()];
  expect(above?.y).toBeLessThan(below?.y ?? 0);
  await dashboard.shot('feedback');
});

test('S40: the panel to connect a server lists the addresses to allow', async ({ dashboard }) => {
  const { page } = dashboard;
  await page.goto(`${on.hub.facts.url}/#/bucket/${on.hub.facts.bucket}`);
  await page.getByText('What the server must be able to reach').click();
  const { host } = new URL(on.hub.facts.url);
  expect(await page.locator('[data-test="addresses"]').textContent()).toBe(host);
  const reply = await fetch(`${on.hub.facts.url}/ips`);
  expect(await reply.json()).toMatchObject({ host: host.split(':')[0], addresses: ['127.0.0.1'] });
});

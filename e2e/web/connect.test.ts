// The link test beside the command that connects a server: what the hub sees of each that tries.
import path from 'node:path';
import type { Locator } from 'playwright-core';
import { expect } from 'vitest';
import { newest, ours } from '../lib/agents.ts';
import { says, withDashboard } from '../lib/browser.ts';
import { Bucket } from '../lib/bucket.ts';
import { Narrow } from '../lib/narrow.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

const { test, on } = withDashboard();

const steps = (attempt: Locator, wanted: string) =>
  until(`the steps are ${wanted}`, async () => {
    const items = await attempt.locator('[data-step]').all();
    return (await Promise.all(items.map((item) => item.getAttribute('data-step')))).join(' ') === wanted;
  });

test('the connect drawer follows each server that links, with any agent, and tells a name that is taken', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
  const first = manager(ours.program);
  await bucket.link(first, 'box');
  await bucket.server('box');
  const { page } = dashboard;
  await page.reload();
  await page.goto(bucket.page());
  await page.getByRole('button', { name: 'Connect a server' }).click();
  const drawer = page.getByRole('dialog');
  await says(drawer, /Waiting for a server/);

  // With a secret that is not the bucket's, the hub knows for whom it was meant.
  const pm = manager(ours.program);
  const wrong = ['link', 'x'.repeat(15), bucket.publicKey, 'late', '--info-node', on.hub.facts.url];
  expect((await pm.run(...wrong)).code).toBe(1);
  const stranger = drawer.locator('.attempt').first();
  await steps(stranger, 'failed later later later');
  await says(stranger, /the secret key is not/);
  await dashboard.shot('link-test-wrong-keys');

  await bucket.link(pm, 'box');
  const late = drawer.locator('[data-attempt="box"]').first();
  await steps(late, 'done done done done');
  await says(late, /2 servers go by the name “box”/);

  const theirs = manager(newest.program);
  await theirs.ok('start', path.join(apps, 'prints.js'));
  await bucket.link(theirs, 'theirs');
  await steps(drawer.locator('[data-attempt="theirs"]'), 'done done done done');
  await dashboard.shot('link-test');
  await page.emulateMedia({ colorScheme: 'light' });
  await dashboard.shot('link-test-light');
  await page.setViewportSize({ width: 375, height: 740 });
  await drawer.locator('.linktest').scrollIntoViewIfNeeded();
  await dashboard.shot('link-test-phone');
});

test('the connect drawer tells that there is no place, and commands that cannot come', async ({
  manager,
  dashboard,
}) => {
  const narrow = await Narrow.before(on.hub.facts.url);
  try {
    const bucket = await Bucket.make(on.hub, { max_servers: 1 });
    const { page } = dashboard;
    await page.reload();
    await page.goto(bucket.page());
    const first = manager(ours.program);
    await first.ok('link', bucket.secretKey, bucket.publicKey, 'first', '--info-node', narrow.url);
    await bucket.server('first');
    await page.getByRole('button', { name: 'Connect a server' }).click();
    const drawer = page.getByRole('dialog');
    const second = manager(ours.program);
    expect((await bucket.link(second, 'second')).code).toBe(1);
    const waiting = drawer.locator('[data-attempt="second"]');
    await steps(waiting, 'done done failed later');
    await says(waiting, /takes 1 servers and has as many/);
    await until('the first one talked on', async () => {
      const { body } = await bucket.api('GET', '/attempts');
      const [one] = body.attempts.filter((a: { name: string }) => a.name === 'first');
      return one?.data && one.socket === false && one.commands === false;
    });
    await dashboard.shot('link-test-no-place');
    await bucket.set({ max_servers: 2 });
    await bucket.link(second, 'second');
    await steps(waiting, 'done done done done');
  } finally {
    await narrow.close();
  }
});

// Servers with something to say, as a person sees them: S41, S54, S58, S59, S61 and S62 of the product's list in the browser.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { ours, pm2Agents } from '../lib/agents.ts';
import { oldNode, sleepers } from '../lib/apps.ts';
import { says, withDashboard } from '../lib/browser.ts';
import { Bucket } from '../lib/bucket.ts';
import { Narrow } from '../lib/narrow.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

const { test, on } = withDashboard();

test('S41 S43: the versions of PM2 and Node stand on each server, and what is old is marked with the way to renew it', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
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

test('on a phone an app is named on its pages, and what can be done to it on all servers is offered', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
  for (const name of ['left', 'right']) {
    const pm = manager(ours.program);
    await sleepers(pm, 'worker');
    await bucket.link(pm, name);
    await bucket.server(name, (server) => server.processes.length === 1);
  }
  const { page } = dashboard;
  await page.setViewportSize({ width: 375, height: 760 });
  await page.reload();
  for (const rest of ['/app/worker', '/logs?app=worker']) {
    await page.goto(bucket.page(rest));
    const heading = page.getByRole('heading', { level: 1 });
    await says(heading, /worker/);
    const box = await heading.boundingBox();
    expect(box?.width).toBeGreaterThan(40);
    expect((box?.x ?? 0) + (box?.width ?? 0)).toBeLessThanOrEqual(375);
  }
  await page.goto(bucket.page('/app/worker'));
  await page.getByText('On all 2 servers').waitFor();
  await page.getByRole('button', { name: 'Restart…' }).click();
  const dialog = page.getByRole('dialog');
  await says(dialog, /Restart · worker on 2 servers/);
  await page.keyboard.press('Escape');
  await dashboard.shot('phone-app');
});

test('S54: two servers of one name are marked, with where they are and what to do', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
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
  const narrow = await Narrow.before(on.hub.facts.url);
  try {
    const bucket = await Bucket.make(on.hub);
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
  const bucket = await Bucket.make(on.hub);
  const pm = manager(ours.program);
  await sleepers(pm, 'app');
  const words = ['link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', on.hub.facts.url];
  await pm.with(pm.program, words, { env: { PM2_REVERSE_INTERACT: 'false' } });
  await dashboard.page.reload();
  await dashboard.page.goto(bucket.page());
  const strip = dashboard.page.locator('[data-kind="strip"]');
  await says(strip, /disabled on this host/);
  expect(await strip.textContent()).not.toContain('not established');
});

test('F3: the check-list of a server says what is wrong with its link and how to mend it, and follows what is mended', async ({
  manager,
  dashboard,
}) => {
  const narrow = await Narrow.before(on.hub.facts.url);
  try {
    const bucket = await Bucket.make(on.hub, { max_processes: 1 });
    const [pm, twin] = [manager(ours.program), manager(ours.program)];
    await sleepers(pm, 'one', 'two');
    await pm.ok('link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', narrow.url);
    await bucket.server('box', (server) => server.processes.length === 2);
    await bucket.link(twin, 'box');
    await until('both are there', async () => (await bucket.look()).servers.length === 2);
    await dashboard.page.reload();
    await dashboard.page.goto(bucket.page());
    const row = dashboard.page.locator('[data-kind="server"]', { hasText: 'box' });
    await row.first().waitFor();
    const button = row.getByRole('button', { name: 'Check the link of box: 3 to look at' });
    await button.click();
    const dialog = dashboard.page.getByRole('dialog', { name: 'Link of box' });
    const check = (area: string) => dialog.locator(`[data-check="${area}"]`);
    const stateOf = async (area: string) => await check(area).getAttribute('data-state');
    await says(check('Commands'), /wrong.*Reverse connection not established.*pilothouse link doctor/);
    await says(check('Name'), /to look at.*Linked as “box” as well: .+PM2_MACHINE_NAME/);
    await says(check('Plan'), /1 of its processes are not monitored: the plan allows 1/);
    for (const area of ['Data', 'Versions', 'Clock']) expect(await stateOf(area), area).toBe('good');
    await dashboard.shot('checks');

    narrow.widen();
    await bucket.set({ max_processes: 9 });
    await bucket.link(twin, 'other');
    for (const area of ['Commands', 'Name']) await until(area, async () => (await stateOf(area)) === 'good');
    await until('the plan', async () => (await stateOf('Plan')) === 'good');
    await dialog.getByRole('button', { name: 'Close' }).click();
    await pm.ok('link', 'stop');
    await dashboard.page.getByRole('button', { name: 'Check the link of box: 1 to look at' }).click();
    await says(check('Data'), /The agent was stopped on the server.*pilothouse link/);
  } finally {
    await narrow.close();
  }
});

test('S42: a server that was refused for its Node is named with the reason, though it was never linked', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
  const pm = manager(ours.program);
  const env = { PATH: `${oldNode(pm, 'v0.10.48')}:${process.env.PATH}` };
  await pm.with(pm.program, ['start', path.join(apps, 'prints.js'), '--name', 'web'], { env });
  await until('the app runs with it', async () => (await pm.app('web')).pm2_env.node_version === '0.10.48');
  expect((await bucket.link(pm, 'newcomer')).code).toBe(1);
  await dashboard.page.reload();
  await dashboard.page.goto(bucket.page('/settings/servers'));
  const refused = dashboard.page.locator('[data-test="refused"]');
  await says(refused, /newcomer/);
  await says(refused.locator('..'), /was refused: PM2 7\.0\.4 needs Node\.js 4 or newer/);
  expect(await dashboard.page.locator('[data-test="waiting"]').count()).toBe(0);
});

test('S45: controls that the agent of a server does not take are disabled, and say why', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
  for (const agent of [ours, ...pm2Agents.slice(0, 1)]) {
    const pm = manager(agent.program);
    await pm.ok('start', path.join(apps, 'prints.js'), '--name', `app-of-${agent.short}`);
    if (agent.ours) writeFileSync(path.join(pm.home, 'policy.toml'), 'allow = ["restart", "stop", "delete"]');
    await bucket.link(pm, agent.short);
    await bucket.server(agent.short, (server) => server.processes.length === 1);
  }
  await dashboard.page.reload();
  await dashboard.page.goto(bucket.page());
  const look = async (name: string) => {
    const row = dashboard.page.locator('[data-kind="app"]', { hasText: name });
    await row.hover();
    const stop = row.getByRole('button', { name: /^Stop/ });
    const restart = row.getByRole('button', { name: /^Restart/ });
    await row.getByRole('button', { name: /^More/ }).click();
    const item = (text: RegExp) => dashboard.page.getByRole('menuitem', { name: text });
    const seen = {
      stop: await stop.getAttribute('aria-disabled'),
      why: await stop.getAttribute('title'),
      restart: await restart.getAttribute('aria-disabled'),
      remove: await item(/^Delete/).isDisabled(),
      whyNot: await item(/^Delete/).getAttribute('title'),
    };
    await dashboard.shot(`controls-${name}`);
    await dashboard.page.keyboard.press('Escape');
    return seen;
  };
  const theirs = await look('app-of-pm2-5');
  expect(theirs).toMatchObject({ stop: 'true', restart: null, remove: true });
  expect(theirs.why).toContain('PM2’s own agent takes no stop from here');
  expect(theirs.whyNot).toContain('takes no delete');
  expect(await look('app-of-ours')).toMatchObject({ stop: null, restart: null, remove: false });
});

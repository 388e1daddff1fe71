// Servers that come, wait, go and come again, as a person sees them: S46 to S52 of the product's list in the browser.
import path from 'node:path';
import { expect } from 'vitest';
import { ours } from '../lib/agents.ts';
import { Dashboard, withDashboard } from '../lib/browser.ts';
import { Bucket } from '../lib/bucket.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

const app = (name: string) => path.join(apps, name);

const { test, on } = withDashboard();

test('S48: the first server of an empty bucket is there in 5 s, and the page to connect one closes', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
  await dashboard.page.reload();
  await dashboard.page.goto(bucket.page());
  const command = dashboard.page.locator('[data-test="connect-command"]');
  await command.waitFor();
  await dashboard.shot('connect-first');
  const pm = manager(ours.program);
  await pm.ok('start', app('loop.py'), '--name', 'ticker');
  const before = Date.now();
  expect((await bucket.link(pm, 'first')).code).toBe(0);
  await dashboard.page.locator('[data-kind="app"]', { hasText: 'ticker' }).waitFor();
  expect(Date.now() - before).toBeLessThan(5_000);
  await command.waitFor({ state: 'detached' });
});

test('S46: settings list every server; several are deleted at once', async ({ manager, dashboard }) => {
  const bucket = await Bucket.make(on.hub);
  const names = ['alpha', 'beta', 'gamma'];
  for (const name of names) {
    const pm = manager(ours.program);
    await pm.ok('start', app('loop.py'));
    await bucket.link(pm, name);
    await bucket.server(name, (server) => server.processes.length === 1);
    if (name !== 'gamma') {
      await pm.ok('link', 'stop');
      await bucket.server(name, (server) => server.state === 'stopped');
    }
  }
  await dashboard.page.reload();
  await dashboard.page.goto(bucket.page('/settings/servers'));
  const row = (name: string) => dashboard.page.locator('[data-server]', { hasText: name });
  for (const name of names) {
    await row(name).waitFor();
    expect(await row(name).textContent()).toContain(name === 'gamma' ? 'online' : 'stopped');
    expect(await row(name).textContent()).toContain('7.');
  }
  await dashboard.shot('server-box');
  for (const name of ['alpha', 'beta']) await dashboard.page.getByLabel(`Select ${name}`).check();
  await dashboard.page.getByRole('button', { name: 'Delete 2' }).click();
  await dashboard.page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  for (const name of ['alpha', 'beta']) await row(name).waitFor({ state: 'detached' });
  await row('gamma').waitFor();
  expect((await bucket.look()).servers.map((server) => server.name)).toEqual(['gamma']);
});

test('S47: the limit is set in the settings, and who waits is shown beside the servers', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
  const [first, second] = [manager(ours.program), manager(ours.program)];
  await bucket.link(first, 'first');
  await bucket.server('first');
  await dashboard.page.reload();
  await dashboard.page.goto(bucket.page('/settings/general'));
  await dashboard.page.getByLabel('Linked servers').fill('1');
  await dashboard.page.getByRole('button', { name: 'Save limits' }).click();
  await until('the limit holds', async () => {
    const { body } = await bucket.api('GET', '');
    return body.max_servers === 1;
  });
  await dashboard.shot('limits');
  expect((await bucket.link(second, 'second')).code).toBe(1);
  await dashboard.page.goto(bucket.page('/settings/servers'));
  const waiting = dashboard.page.locator('[data-test="waiting"]');
  await waiting.waitFor();
  expect(await waiting.textContent()).toContain('second');
  await dashboard.shot('server-box-waiting');
});

test('S49: deleting asks whether the history goes too', async ({ manager, dashboard }) => {
  const bucket = await Bucket.make(on.hub);
  const pm = manager(ours.program);
  await pm.ok('start', app('loop.py'));
  await bucket.link(pm, 'box');
  await bucket.server('box', (server) => server.processes.length === 1);
  const history = async () =>
    (await bucket.api('GET', '/series?app=loop&metric=memory')).body.series.length > 0;
  await until('history', history);
  await pm.ok('link', 'stop');
  await bucket.server('box', (server) => server.state === 'stopped');
  await dashboard.page.reload();
  await dashboard.page.goto(bucket.page('/settings/servers'));
  await dashboard.page.getByRole('button', { name: 'Delete server box' }).click();
  const dialog = dashboard.page.getByRole('dialog');
  await dialog.getByRole('checkbox').check();
  await dialog.getByRole('button', { name: 'Delete' }).click();
  await until(
    'nothing is left',
    async () => (await bucket.look()).servers.length === 0 && !(await history()),
  );
});

test('S50: a server whose agent runs can only be hidden, and the dialog says so', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
  const pm = manager(ours.program);
  await pm.ok('start', app('loop.py'), '--name', 'ticker');
  await bucket.link(pm, 'box');
  await bucket.server('box', (server) => server.processes.length === 1);
  await dashboard.page.reload();
  await dashboard.page.goto(bucket.page('/settings/servers'));
  await dashboard.page.getByRole('button', { name: 'Delete server box' }).click();
  const dialog = dashboard.page.getByRole('dialog');
  await dialog.getByText(/agent of box still runs/).waitFor();
  await dashboard.shot('hide-server');
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  expect((await bucket.look()).servers[0]?.online).toBe(true);
  await dashboard.page.getByRole('button', { name: 'Delete server box' }).click();
  await dialog.getByRole('button', { name: 'Hide until re-linked' }).click();
  await until('it is hidden', async () => (await bucket.look()).servers[0]?.hidden);
  await until('its host is told', async () =>
    /refused: this server was deleted/.test((await pm.ok('link', 'info')).stdout),
  );
  await dashboard.page.goto(bucket.page());
  await dashboard.page.locator('[data-kind="app"]').waitFor({ state: 'detached' });
  await bucket.link(pm, 'box');
  await dashboard.page.locator('[data-kind="app"]', { hasText: 'ticker' }).waitFor();
});

test('S52: only admin and owner delete: others see no button, and the hub answers 403', async ({
  manager,
}) => {
  const bucket = await Bucket.make(on.hub);
  const pm = manager(ours.program);
  await bucket.link(pm, 'box');
  const shown = await bucket.server('box');
  const guest = { username: 'guest', email: 'guest@example.com', password: 'correct horse battery' };
  await bucket.welcome(guest);
  for (const [role, may] of [
    ['user', false],
    ['developer', false],
    ['admin', true],
  ] as const) {
    await bucket.api('POST', '/promote_user', { email: guest.email, role });
    const window = await Dashboard.open(on.browser, on.hub);
    await window.signIn(guest.password, guest.email);
    await window.page.getByRole('button', { name: 'Account' }).waitFor();
    await window.page.goto(bucket.page('/settings/servers'));
    await window.page.locator('[data-server]', { hasText: 'box' }).waitFor();
    expect(await window.page.getByRole('button', { name: 'Delete server box' }).count(), role).toBe(
      may ? 1 : 0,
    );
    await window.close();
    const { access_token } = await on.hub.grant(guest);
    const reply = await fetch(`${on.hub.facts.url}/api/bucket/${bucket.id}/servers/${shown.id}`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${access_token}`, 'content-type': 'application/json' },
      body: '{}',
    });
    // The agent runs, so an admin is told that; the others are not even heard.
    expect(reply.status, role).toBe(may ? 409 : 403);
  }
});

test('the secret key is replaced after a word of warning; who linked with the old one is cut off', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
  const pm = manager(ours.program);
  await bucket.link(pm, 'box');
  const { id } = await bucket.server('box', (server) => server.online);
  await dashboard.page.reload();
  await dashboard.page.goto(bucket.page('/settings/general'));
  await dashboard.page.getByRole('button', { name: 'Replace the secret key' }).click();
  const dialog = dashboard.page.getByRole('dialog');
  await dialog.getByText(/Every server is cut off/).waitFor();
  await dashboard.shot('replace-secret');
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  expect((await bucket.look()).servers[0]?.online).toBe(true);
  await dashboard.page.getByRole('button', { name: 'Replace the secret key' }).click();
  await dialog.getByRole('button', { name: 'Replace' }).click();
  await dialog.waitFor({ state: 'detached' });
  await bucket.server('box', (server) => !server.online);
  const refused = await bucket.link(pm, 'box');
  expect(refused.code).toBe(1);

  await dashboard.page.getByRole('button', { name: 'Show the secret' }).click();
  const shown = dashboard.page.locator('.field', { hasText: 'Secret key' }).locator('code');
  const secret = (await shown.textContent()) ?? '';
  expect(secret).not.toBe(bucket.secretKey);
  await pm.ok('link', secret, bucket.publicKey, 'box', '--info-node', on.hub.facts.url);
  const back = await bucket.server('box', (server) => server.online);
  expect(back.id).toBe(id);
});

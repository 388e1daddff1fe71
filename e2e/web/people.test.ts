// People of a bucket: asked in, given a role, let go; and what all of them did, in the trail.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { ours } from '../lib/agents.ts';
import { Dashboard, says, withDashboard } from '../lib/browser.ts';
import { Bucket } from '../lib/bucket.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

const { test, on } = withDashboard();

test('who is asked in joins by the link; roles change, and who is removed sees nothing', async ({
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
  const { page } = dashboard;
  await page.reload();
  await page.goto(bucket.page('/settings/members'));
  await page.getByLabel('E-mail address').fill('nobody');
  await page.getByRole('button', { name: 'Invite' }).click();
  await page.getByText(/is no e-mail address/).waitFor();
  await page.getByLabel('E-mail address').fill('grace@example.com');
  await page.getByRole('button', { name: 'Invite' }).click();
  await page.getByRole('button', { name: 'Withdraw the invitation of grace@example.com' }).waitFor();
  await dashboard.shot('members');
  dashboard.forgive(/400/);

  const { body } = await bucket.api('GET', '');
  const link: string = body.invitations[0].link;
  const guest = await Dashboard.open(on.browser, on.hub);
  await guest.page.goto(link);
  await guest.page.getByLabel('Password').fill('a long enough one');
  await guest.page.getByRole('button', { name: 'Make the account' }).click();
  await guest.page.getByRole('button', { name: 'Account' }).waitFor();
  await until('the bucket is open', () => guest.page.url() === bucket.page());

  const table = page.locator('[data-test="members"]');
  const row = table.locator('tr', { hasText: 'grace@example.com' });
  await row.waitFor();
  await page.locator('[data-test="invitations"]').waitFor({ state: 'detached' });
  await page.getByLabel('Role of grace').selectOption('developer');
  await until('the role is another', async () => {
    const members: { email: string; role: string }[] = (await bucket.api('GET', '/users_authorized')).body;
    return members.some(({ email, role }) => email === 'grace@example.com' && role === 'developer');
  });

  // What she may not do she is not shown.
  await guest.page.goto(bucket.page('/settings/members'));
  await guest.page.locator('[data-test="members"]').waitFor();
  expect(await guest.page.getByRole('button', { name: 'Invite' }).count()).toBe(0);
  expect(await guest.page.getByRole('link', { name: 'Audit' }).count()).toBe(0);
  await guest.page.goto(bucket.page('/settings/audit'));
  await guest.page.getByText('The trail is for admins').waitFor();
  expect(guest.problems).toEqual([]);

  await page.getByRole('button', { name: 'Remove grace' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
  await row.waitFor({ state: 'detached' });
  const { access_token } = await on.hub.grant({ email: 'grace@example.com', password: 'a long enough one' });
  const answer = await fetch(`${on.hub.facts.url}/api/bucket/${bucket.id}`, {
    headers: { authorization: `Bearer ${access_token}` },
  });
  expect(answer.status).toBe(404);
  await guest.close();
});

test('a member leaves by himself', async () => {
  const bucket = await Bucket.make(on.hub);
  await bucket.welcome({ username: 'linus', email: 'linus@example.com', password: 'a long enough one' });
  const his = await Dashboard.open(on.browser, on.hub);
  await his.signIn('a long enough one', 'linus@example.com');
  await his.page.getByRole('button', { name: 'Account' }).waitFor();
  await his.page.goto(bucket.page('/settings/members'));
  await his.page.getByRole('button', { name: 'Leave the bucket' }).click();
  await his.page.getByRole('dialog').getByRole('button', { name: 'Leave' }).click();
  await until('the bucket is left', () => his.page.url().endsWith('#/'));
  const members: { email: string }[] = (await bucket.api('GET', '/users_authorized')).body;
  expect(members.map(({ email }) => email)).not.toContain('linus@example.com');
  await his.close();
});

test('the audit trail has what was done and what was refused, is searched, and is taken away as a file', async ({
  manager,
  dashboard,
}) => {
  const bucket = await Bucket.make(on.hub);
  const pm = manager(ours.program);
  await pm.ok('start', path.join(apps, 'loop.py'), '--name', 'ticker');
  await bucket.link(pm, 'box');
  const box = await bucket.server('box', (server) => server.online && server.processes.length === 1);
  expect((await bucket.act(box, { action: 'restart', app: 'ticker' })).at(-1)).toMatchObject({ ok: true });
  // Off until the host allows it.
  expect((await bucket.act(box, { action: 'delete', app: 'ticker' })).at(-1)).toMatchObject({ ok: false });
  for (let n = 0; n < 101; n++) await bucket.set({ comment: `change ${n}` });

  const { page } = dashboard;
  await page.reload();
  await page.goto(bucket.page('/settings/members'));
  await page.getByRole('link', { name: 'Audit' }).click();
  const table = page.locator('[data-test="audit"]');
  await says(table, /update bucket/);
  expect(await table.locator('tbody tr').count()).toBe(100);
  await page.getByRole('button', { name: 'Show older' }).click();
  await says(table, /restart/);
  await page.getByRole('button', { name: 'Show older' }).waitFor({ state: 'detached' });
  await page.getByLabel('Search the trail').fill('box/ticker');
  await until('only what matches', async () => (await table.locator('tbody tr').count()) === 2);
  await says(table, /delete[\s\S]*policy\.toml[\s\S]*restart/);
  await dashboard.shot('audit');

  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Export CSV' }).click(),
  ]);
  expect(download.suggestedFilename()).toBe(`audit-${bucket.id}.csv`);
  const lines = readFileSync(await download.path(), 'utf8').split('\r\n');
  expect(lines[0]).toBe('at,who,what,target,outcome,detail');
  expect(lines.filter((line) => line.includes('box/ticker'))).toHaveLength(2);
  expect(lines.some((line) => line.includes('update_bucket'))).toBe(false);

  await page.getByLabel('Search the trail').fill('no such thing');
  await says(table, /Nothing matches/);
});

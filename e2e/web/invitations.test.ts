// The link that somebody gets who is asked into a bucket, followed as that person would.
import { expect } from 'vitest';
import { says, withDashboard } from '../lib/browser.ts';
import { Bucket } from '../lib/bucket.ts';

const { test, on } = withDashboard();

test('the link of an invitation leads to an account and into the bucket, once', async ({ dashboard }) => {
  const bucket = await Bucket.make(on.hub);
  const { body } = await bucket.api('POST', '/add_user', { email: 'guest@example.com' });
  const { link } = body.invitations[0];

  // Who is signed in is told that it is not for them.
  await dashboard.page.goto(link);
  await dashboard.page.getByRole('heading', { name: 'You are signed in already' }).waitFor();
  await dashboard.shot('invitation-signed-in');

  const context = await on.browser.newContext({ viewport: { width: 375, height: 760 } });
  const page = await context.newPage();
  await page.goto(link);
  await says(page.locator('main'), /asked into a test\. Make an account for guest@example\.com/);
  await page.getByLabel('User name').fill('guest');
  await page.getByLabel('Password').fill('short');
  await page.getByRole('button', { name: 'Make the account' }).click();
  await says(page.getByRole('alert'), /at least 8 characters/);
  await page.screenshot({ path: dashboard.picture('invitation') });
  await page.getByLabel('Password').fill('long enough for a guest');
  await page.getByRole('button', { name: 'Make the account' }).click();
  await page.getByRole('button', { name: 'Bucket a test' }).waitFor();
  const { body: members } = await bucket.api('GET', '/users_authorized');
  expect(members).toContainEqual(expect.objectContaining({ email: 'guest@example.com', role: 'user' }));
  await context.close();

  const late = await on.browser.newContext();
  const again = await late.newPage();
  await again.goto(link);
  await says(again.getByRole('alert'), /used already, or withdrawn/);
  await again.getByRole('link', { name: 'Sign in' }).click();
  await again.getByLabel(/e-mail or user name/i).waitFor();
  await late.close();
});

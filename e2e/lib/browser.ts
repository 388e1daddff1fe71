// A real Chromium on the dashboard of a hub. What the page says on its console counts: an error fails the test.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { type Browser, chromium, type Locator, type Page } from 'playwright-core';
import { expect } from 'vitest';
import { test } from './agents.ts';
import { type Hub, owner } from './hub.ts';
import { out } from './under-test.ts';
import { until } from './until.ts';

const CANDIDATES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export function launch(): Promise<Browser> {
  const executablePath = CANDIDATES.find(existsSync);
  if (!executablePath) throw new Error(`Chromium is not installed (looked for ${CANDIDATES.join(', ')})`);
  return chromium.launch({
    executablePath,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

export interface Look {
  scheme?: 'dark' | 'light';
  width?: number;
  height?: number;
}

/** A window of the dashboard, and what went wrong in it. */
export class Dashboard {
  readonly problems: string[] = [];

  private constructor(
    readonly page: Page,
    readonly hub: Hub,
  ) {
    page.on('console', (message) => {
      if (message.type() === 'error') this.problems.push(message.text());
    });
    page.on('pageerror', (error) => this.problems.push(String(error)));
  }

  static async open(browser: Browser, hub: Hub, { scheme = 'dark', width = 1440, height = 900 }: Look = {}) {
    const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height } });
    const dashboard = new Dashboard(await context.newPage(), hub);
    await dashboard.page.goto(`${hub.facts.url}/`);
    return dashboard;
  }

  async signIn(password = owner.password, email = owner.email) {
    await this.page.getByLabel(/e-mail or user name/i).fill(email);
    await this.page.getByLabel(/^password/i).fill(password);
    await this.page.getByRole('button', { name: /sign in/i }).click();
  }

  /** Keeps a picture of the page as test output. */
  shot(name: string) {
    return this.page.screenshot({ path: path.join(out, `${name}.png`) });
  }

  /** Forgets problems that a test brings about on purpose. */
  forgive(pattern: RegExp) {
    const left = this.problems.filter((problem) => !pattern.test(problem));
    this.problems.splice(0, this.problems.length, ...left);
  }

  close() {
    return this.page.context().close();
  }
}

/** Waits until a part of the page says something. */
export const says = (locator: Locator, pattern: RegExp) =>
  until(`the page says ${pattern}`, async () => pattern.test((await locator.textContent()) ?? ''));

/**
 * A test with a signed-in window; what its page complains of fails the test. `on` gives browser and hub, which the file's own
 * hooks start.
 */
export function withDashboard(on: () => { browser: Browser; hub: Hub }) {
  return test.extend<{ dashboard: Dashboard }>({
    // biome-ignore lint/correctness/noEmptyPattern: the runner reads what a fixture needs from this pattern
    dashboard: async ({}, use) => {
      const { browser, hub } = on();
      const dashboard = await Dashboard.open(browser, hub);
      await dashboard.signIn();
      await dashboard.page.getByRole('button', { name: 'Account' }).waitFor();
      await use(dashboard);
      await dashboard.close();
      expect(dashboard.problems).toEqual([]);
    },
  });
}

// A real Chromium on the dashboard of a hub. What the page says on its console counts: an error fails the test.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { type Browser, chromium, type Locator, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect } from 'vitest';
import { test } from './agents.ts';
import { Hub, owner } from './hub.ts';
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
    return this.page.screenshot({ path: this.picture(name) });
  }

  /** Where a picture of that name is kept. */
  picture(name: string): string {
    return path.join(out, `${name}.png`);
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

/** A browser and a hub, started before the first test of a file and ended after the last. */
export interface Stage {
  readonly browser: Browser;
  readonly hub: Hub;
}

/**
 * Tests with a signed-in window on a hub that the file has for itself; what their page complains of fails them. `hubOptions` are
 * words of the hub's command line.
 */
export function withDashboard(...hubOptions: string[]) {
  const stage: { browser?: Browser; hub?: Hub } = {};
  beforeAll(async () => {
    [stage.browser, stage.hub] = await Promise.all([launch(), Hub.start(...hubOptions)]);
  });
  afterAll(async () => {
    await stage.browser?.close();
    await stage.hub?.dispose();
  });
  // Looked at by tests alone, which run when both are there.
  const on = stage as Stage;
  const withWindow = test.extend<{ dashboard: Dashboard }>({
    // biome-ignore lint/correctness/noEmptyPattern: the runner reads what a fixture needs from this pattern
    dashboard: async ({}, use) => {
      const dashboard = await Dashboard.open(on.browser, on.hub);
      await dashboard.signIn();
      await dashboard.page.getByRole('button', { name: 'Account' }).waitFor();
      await use(dashboard);
      await dashboard.close();
      expect(dashboard.problems).toEqual([]);
    },
  });
  return { test: withWindow, on };
}

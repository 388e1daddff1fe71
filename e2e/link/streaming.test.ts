// How long PM2's own agents send lines of logs: for 120 s after they were last asked. The hub asks again while somebody looks, and says
// when nobody does any more; where it can say nothing, they end by themselves.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { pm2Agents, test } from '../lib/agents.ts';
import { Dashboard, launch, says } from '../lib/browser.ts';
import { Bucket } from '../lib/bucket.ts';
import { Hub } from '../lib/hub.ts';
import type { Manager } from '../lib/manager.ts';
import { Tap } from '../lib/tap.ts';
import { until } from '../lib/until.ts';

/** What these agents wait for before they stop, ms. */
const PATIENCE = 120_000;

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser?.close());

/** The clock of an agent, as far as the end of its lines goes: the test says when the time has passed. */
class Clock {
  private readonly asked: string;
  private readonly due: string;
  readonly env: Record<string, string>;

  constructor(pm: Manager) {
    this.asked = path.join(pm.dir, 'asked');
    this.due = path.join(pm.dir, 'due');
    const preload = path.join(pm.dir, 'clock.cjs');
    writeFileSync(
      preload,
      `const fs = require('node:fs');
      const plain = setTimeout;
      if (/InteractorDaemon/.test(process.argv[1])) globalThis.setTimeout = (then, ms, ...rest) => {
        if (ms !== ${PATIENCE}) return plain(then, ms, ...rest);
        fs.appendFileSync(${JSON.stringify(this.asked)}, Date.now() + '\\n');
        const look = setInterval(() => {
          if (!fs.existsSync(${JSON.stringify(this.due)})) return;
          clearInterval(look);
          then(...rest);
        }, 20);
        return look;
      };`,
    );
    this.env = { NODE_OPTIONS: `--require ${preload}` };
  }

  /** When the agent was asked for lines, ms since 1970. */
  get times(): number[] {
    return existsSync(this.asked) ? readFileSync(this.asked, 'utf8').trim().split('\n').map(Number) : [];
  }

  passes() {
    writeFileSync(this.due, '');
  }
}

/** Links a manager whose app says something all the time, by a wire that is listened to. */
async function follow(pm: Manager, hub: Hub) {
  const bucket = await Bucket.make(hub);
  const tap = await Tap.before(hub.facts.url);
  const clock = new Clock(pm);
  const script = path.join(pm.dir, 'ticker.js');
  writeFileSync(script, "setInterval(() => console.log('tick', Date.now()), 100);");
  await pm.ok('start', script, '--name', 'ticker');
  const words = ['link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', tap.url];
  expect((await pm.with(pm.program, words, { env: clock.env })).code).toBe(0);
  await bucket.server('box', ({ processes }) => processes[0]?.status === 'online');
  return { bucket, tap, clock };
}

const lines = (tap: Tap) =>
  tap.talks().reduce((sum, talk) => sum + talk.up.filter((one) => one.channel === 'logs').length, 0);
const statuses = (tap: Tap) =>
  tap
    .talks()
    .reduce((sum, talk) => sum + talk.up.filter((one) => one.channel.startsWith('status')).length, 0);
const methods = (tap: Tap) =>
  tap
    .talks()
    .flatMap((talk) => talk.down)
    .map((one) => one.payload?.method_name);

/** The lines have ended: statuses go on, and none comes between them. */
async function silent(tap: Tap) {
  let seen = { lines: -1, statuses: 0 };
  await until('statuses come and no lines', () => {
    const now = { lines: lines(tap), statuses: statuses(tap) };
    if (now.lines !== seen.lines) seen = now;
    return now.statuses - seen.statuses >= 3;
  });
}

describe.concurrent.each(pm2Agents)('$kind', ({ program }) => {
  test('lines go on while a browser looks, for the hub asks again in time, and end with it', async ({
    manager,
  }) => {
    const hub = await Hub.start();
    const pm = manager(program);
    const { bucket, tap, clock } = await follow(pm, hub);
    try {
      expect(clock.times).toEqual([]);
      const dashboard = await Dashboard.open(browser, hub);
      await dashboard.signIn();
      await dashboard.page.getByRole('button', { name: 'Account' }).waitFor();
      await dashboard.page.goto(bucket.page('/logs?app=ticker'));
      await says(dashboard.page.locator('body'), /tick \d{13}/);
      const [first = 0, again = 0] = await until(
        'it is asked again',
        () => clock.times.length > 1 && clock.times,
        { within: PATIENCE },
      );
      expect(again - first).toBeLessThan(PATIENCE);
      const before = lines(tap);
      await until('lines go on', () => lines(tap) > before + 10);
      expect(methods(tap)).not.toContain('stopLogging');
      await dashboard.close();
      await until('the hub says that nobody looks', () => methods(tap).at(-1) === 'stopLogging');
      await silent(tap);
      expect(dashboard.problems).toEqual([]);
    } finally {
      await tap.close();
      await pm.dispose();
      await hub.dispose();
    }
  }, 180_000);

  test('where a hub died that had asked for them, lines end by themselves', async ({ manager }) => {
    const hub = await Hub.start();
    const pm = manager(program);
    const { bucket, tap, clock } = await follow(pm, hub);
    try {
      const asked = await bucket.api('POST', '/actions/triggerPM2', {
        server_name: 'box',
        method_name: 'startLogging',
        parameters: {},
      });
      expect(asked.status).toBe(200);
      await until('lines come', () => lines(tap) > 0);
      await hub.crashAndRestart();
      // Where it cannot look up google.com, the agent comes back with its refresh, each minute.
      await bucket.server('box', (server) => server.online, 90_000);
      const before = lines(tap);
      await until('lines go on, for nobody', () => lines(tap) > before);
      expect(clock.times).toHaveLength(1);
      clock.passes();
      await silent(tap);
      expect(methods(tap)).not.toContain('stopLogging');
      expect(clock.times).toHaveLength(1);
    } finally {
      await tap.close();
      await pm.dispose();
      await hub.dispose();
    }
  }, 180_000);
});

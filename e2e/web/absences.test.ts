// Why a server is away, as a person reads it: F4 in the browser.
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { ours } from '../lib/agents.ts';
import { sleepers } from '../lib/apps.ts';
import { withDashboard } from '../lib/browser.ts';
import { Bucket } from '../lib/bucket.ts';
import { noIslands, rebooted } from '../lib/island.ts';
import { powerOff } from '../lib/power.ts';
import { Tap } from '../lib/tap.ts';
import { until } from '../lib/until.ts';

const { test, on } = withDashboard();

test('F4: four kinds of offline have four texts, and say afterwards what it was', {
  timeout: 180_000,
}, async ({ manager, dashboard }) => {
  const bucket = await Bucket.make(on.hub, { offline_after: 30 });
  const names = ['stopped', 'dead', 'lost', 'gone'] as const;
  const taps = { lost: await Tap.before(on.hub.facts.url), gone: await Tap.before(on.hub.facts.url) };
  try {
    const start = async (name: (typeof names)[number]) => {
      const pm = manager(ours.program);
      await sleepers(pm, 'app');
      await pm.ok('save');
      const url = name in taps ? taps[name as keyof typeof taps].url : on.hub.facts.url;
      await pm.ok('link', bucket.secretKey, bucket.publicKey, name, '--info-node', url);
      await bucket.server(name, (server) => server.online && server.processes.length === 1);
      return pm;
    };
    const [stopped, dead, , gone] = await Promise.all(names.map(start));
    if (!stopped || !dead || !gone) throw new Error('four homes were started');
    await dashboard.page.reload();
    await dashboard.page.goto(bucket.page());
    const rows = dashboard.page.locator('[data-kind]');
    /** The badge of a server, and the line below it. */
    const told = async (name: string) => {
      const texts = await rows.evaluateAll((all) =>
        all.map((row) => [
          row.getAttribute('data-kind'),
          row.textContent ?? '',
          row.querySelector('.badge')?.textContent,
        ]),
      );
      const at = texts.findIndex(([kind, text]) => kind === 'server' && text?.includes(name));
      const next = texts[at + 1];
      return [texts[at]?.[2] ?? '', next?.[0] === 'strip' ? next[1] : ''];
    };
    const says = (name: string, badge: string, line: RegExp) =>
      until(
        `${name} has the badge ${badge} and the line ${line}`,
        async () => {
          const [shown, below] = await told(name);
          if (shown !== badge || !line.test(below ?? '')) throw new Error(`${shown} | ${below}`);
          return true;
        },
        { within: 50_000 },
      );

    taps.gone.hold();
    powerOff(gone);
    powerOff(dead);
    await stopped.ok('kill');
    await says('stopped', 'stopped', /^Stopped on purpose: .* Latest update /);
    await says('dead', 'PM2 dead', /^PM2 on this server seems dead: /);
    await says('gone', 'link lost', /^The link to this server seems lost: /);
    await says('gone', 'host gone', /^The host seems gone: /);
    taps.lost.hold();
    await says('lost', 'link lost', /^The link to this server seems lost: /);
    await dashboard.shot('absences');
    for (const scheme of ['light'] as const) await dashboard.page.emulateMedia({ colorScheme: scheme });
    await dashboard.shot('absences-light');

    taps.lost.release();
    taps.gone.release();
    await says('lost', '', /^Back after .*: the link was lost\. What was measured meanwhile is filled in\.$/);
    await dead.ok('resurrect');
    await says('dead', '', /^Back after .*: PM2 was dead there, the host ran on\.$/);
    await stopped.ok('resurrect');
    await says('stopped', '', /^Back after .*: it had been stopped on purpose\.$/);
    // Another boot id can be shown to a process only by who may mount.
    if (noIslands() === '') {
      const bootId = path.join(gone.dir, 'boot_id');
      writeFileSync(bootId, `${randomUUID()}\n`);
      expect((await gone.with(rebooted(gone.program, bootId), ['resurrect'])).code).toBe(0);
      await says('gone', '', /^Back after .*: the host was off, or started anew\.$/);
    }
    await dashboard.shot('absences-back');
  } finally {
    await Promise.all(Object.values(taps).map((tap) => tap.close()));
  }
});

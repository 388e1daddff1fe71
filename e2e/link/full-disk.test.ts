// A host whose disk is full while the hub is away: what has no place is counted and told, and nothing else suffers.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { ours, test } from '../lib/agents.ts';
import { sleepers } from '../lib/apps.ts';
import { Bucket } from '../lib/bucket.ts';
import { Hub } from '../lib/hub.ts';
import { until } from '../lib/until.ts';

const canMount = process.platform === 'linux' && process.getuid?.() === 0;

test.runIf(canMount)(
  'a full disk below the spool: live data goes on, what is lost is counted and shown, and it heals',
  async ({ manager }) => {
    const hub = await Hub.start();
    const pm = manager(ours.program);
    const spool = path.join(pm.home, 'agent-spool');
    mkdirSync(spool, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', spool]);
    try {
      const bucket = await Bucket.make(hub);
      // Tells an event of 48 KB for each line of a file, of noise, since reports are packed.
      const script = path.join(pm.dir, 'teller.js');
      const orders = path.join(pm.dir, 'orders');
      writeFileSync(orders, '');
      writeFileSync(
        script,
        `const { randomBytes } = require('node:crypto');
        const { readFileSync } = require('node:fs');
        let told = 0;
        setInterval(() => {
          if (readFileSync(${JSON.stringify(orders)}).length <= told) return;
          told++;
          const data = { noise: randomBytes(36_000).toString('base64') };
          process.send({ type: 'human:event', data: { __name: 'noise', ...data } });
        }, 20);`,
      );
      await pm.ok('start', script, '--name', 'teller');
      await bucket.link(pm, 'box');
      const before = await bucket.server('box', ({ processes }) => processes[0]?.status === 'online');
      const [pid, daemon] = [before.processes[0]?.pid, pm.daemonPid()];
      const lost = async () =>
        Number(/Waiting \/ lost +: \d+ reports \/ (\d+)/.exec((await pm.ok('link', 'info')).stdout)?.[1]);
      expect(await lost()).toBe(0);

      await hub.end('SIGKILL');
      const filler = path.join(spool, 'filler');
      const fill = () => {
        try {
          for (;;) writeFileSync(filler, 'x'.repeat(4096), { flag: 'a' });
        } catch (error) {
          expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC');
        }
      };
      fill();
      // More than what is kept in memory instead.
      writeFileSync(orders, 'x'.repeat(60));
      await until('reports are lost, and counted', async () => (await lost()) > 0, { within: 30_000 });
      expect(pm.file('agent.log')).toMatch(/agent-spool: No space left.*waits in memory/);

      await hub.crashAndRestart();
      const back = await bucket.server('box', (server) => server.online && server.failure !== null, 30_000);
      expect(back.id).toBe(before.id);
      expect(back.failure?.text).toMatch(/^\d+ reports? of that host .* no room/);
      expect([back.processes[0]?.pid, pm.daemonPid()]).toEqual([pid, daemon]);
      // The disk is as full as before: what happens now is told all the same.
      fill();
      await sleepers(pm, 'later');
      await bucket.server('box', ({ processes }) => processes.some(({ name }) => name === 'later'));
      const told = await bucket.act(back, { action: 'restart', app: 'later' });
      expect(told.at(-1)).toMatchObject({ ok: true });

      rmSync(filler);
      await until('reports are written again', () =>
        /reports can be written again; \d+ of them were lost/.test(pm.file('agent.log')),
      );
      const counted = await lost();
      await hub.end('SIGKILL');
      const size = () =>
        readdirSync(spool)
          .filter((name) => name.endsWith('.seg'))
          .reduce((sum, name) => sum + statSync(path.join(spool, name)).size, 0);
      const already = size();
      await until('they wait on the disk', () => size() > already + 1000, { within: 30_000 });
      expect(await lost()).toBe(counted);
      await hub.crashAndRestart();
      await bucket.server('box', (server) => server.online, 30_000);
    } finally {
      await pm.run('kill');
      execFileSync('umount', ['-l', spool]);
      await hub.dispose();
    }
  },
  120_000,
);

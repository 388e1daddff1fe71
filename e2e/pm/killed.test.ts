// kill -9 of the daemon and of the keeper somewhere in the middle of each verb: nothing hangs, nothing is lost or doubled, and whoever
// asked is told. The moment is another one in each run; FAULT_ROUNDS says how many of them each verb gets.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { alive, parentOf, processesWith } from '../lib/scratch.ts';
import { underTest } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

const ROUNDS = Number(process.env.FAULT_ROUNDS ?? 1);
/** Commands take about so long, ms. */
const SPAN = 150;

/** Processes of apps: those that were told their number. */
const processes = (pm: Manager) =>
  processesWith(`PM2_HOME=${pm.home}`).filter((pid) => {
    try {
      return alive(pid) && /(^|\0)pm_id=\d/.test(readFileSync(`/proc/${pid}/environ`, 'utf8'));
    } catch {
      return false; // gone meanwhile
    }
  });

interface Case {
  verb: string[];
  /** Names that may be there after it, and how many of each at most; at least what `least` says. */
  most: Record<string, number>;
  least: Record<string, number>;
}
const all = { web: 2, rests: 1, other: 1 };
const stays = (...verb: string[]): Case => ({ verb, most: all, least: all });

const cases: Case[] = [
  { verb: ['start', 'APP', '--name', 'fresh'], most: { ...all, fresh: 1 }, least: all },
  stays('start', 'rests'),
  stays('stop', 'all'),
  stays('restart', 'all'),
  stays('reload', 'web'),
  { verb: ['delete', 'all'], most: all, least: {} },
  { verb: ['delete', 'web'], most: all, least: { rests: 1, other: 1 } },
  { verb: ['scale', 'web', '4'], most: { ...all, web: 4 }, least: all },
  { verb: ['scale', 'web', '1'], most: all, least: { ...all, web: 1 } },
  stays('save'),
  stays('resurrect'),
  stays('reset', 'all'),
  stays('flush'),
  stays('reloadLogs'),
  stays('sendSignal', 'SIGUSR1', 'other'),
  stays('jlist'),
  { verb: ['kill'], most: all, least: {} },
];

async function round(one: Case, victim: 'daemon' | 'keeper') {
  const pm = new Manager();
  const delay = Math.random() * SPAN;
  const what = `${one.verb.join(' ')}: kill of the ${victim} after ${delay.toFixed(1)} ms`;
  try {
    const script = path.join(pm.dir, 'app.py');
    writeFileSync(script, 'import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)\nsignal.pause()\n');
    const app = { script, interpreter: 'python3' };
    const file = path.join(pm.dir, 'eco.json');
    const apps = [
      { ...app, name: 'web', instances: 2, exec_mode: 'fork' },
      { ...app, name: 'rests', autostart: false },
      { ...app, name: 'other' },
    ];
    writeFileSync(file, JSON.stringify({ apps }));
    await pm.ok('start', file);
    await pm.ok('save');
    const daemon = pm.daemonPid();
    const target = victim === 'daemon' ? daemon : parentOf(daemon);

    const asked = pm.run(...one.verb.map((word) => (word === 'APP' ? script : word)));
    await new Promise((resolve) => setTimeout(resolve, delay));
    if (alive(target)) process.kill(target, 'SIGKILL');
    const outcome = await within(20_000, `${what}: the command`, asked);
    const said = `${what}: exit ${outcome.code}\n${outcome.stdout}${outcome.stderr}`;
    if (outcome.code !== 0) expect(outcome.stdout + outcome.stderr, said).toMatch(/\[PM2\]\[ERROR\] \S/);
    expect(outcome.code, said).not.toBeNull();

    const ping = await within(20_000, `${what}: ping`, pm.run('ping'));
    expect(ping.code, `${said}${ping.stderr}`).toBe(0);
    let seen = '';
    const fits = async () => {
      const list = await pm.list();
      const real = processes(pm).sort((a, b) => a - b);
      const listed = list.filter((entry) => entry.pid > 0).map((entry) => entry.pid);
      const states = list.map((entry) => `${entry.name}:${entry.pm_id} ${entry.pm2_env.status} ${entry.pid}`);
      seen = `${said}\nlist ${states.join(', ')}; processes ${real.join(', ')}\n${pm.file('pm2.log')}`;
      const settled = list.every((entry) =>
        entry.pm2_env.status === 'online'
          ? entry.pid > 0
          : entry.pm2_env.status === 'stopped' && entry.pid === 0,
      );
      // The numbers are those of one moment each: they have to be the same.
      return settled && listed.sort((a, b) => a - b).join() === real.join() && list;
    };
    const list = await until('what is listed is what runs', fits).catch((error) => {
      throw new Error(`${error.message}\n${seen}`);
    });
    const count: Record<string, number> = {};
    for (const entry of list) count[entry.name] = (count[entry.name] ?? 0) + 1;
    for (const [name, many] of Object.entries(one.least)) {
      expect(count[name] ?? 0, seen).toBeGreaterThanOrEqual(many);
    }
    for (const [name, many] of Object.entries(count)) {
      expect(many, seen).toBeLessThanOrEqual(one.most[name] ?? 0);
    }
    expect(new Set(list.map((entry) => entry.pm_id)).size, seen).toBe(list.length);
    // What was saved is whole.
    const dump = path.join(pm.home, 'dump.pm2');
    if (existsSync(dump)) expect(JSON.parse(readFileSync(dump, 'utf8')).length, seen).toBeGreaterThan(0);
    // The same once more does what it is for, or says why not.
    const again = await within(20_000, `${what}: the same again`, pm.run('restart', 'all'));
    if (list.length > 0) expect(again.code, `${seen}\n${again.stdout}${again.stderr}`).toBe(0);
    await until('what is listed is what runs after a restart', fits).catch((error) => {
      throw new Error(`${error.message}\n${seen}`);
    });
  } catch (error) {
    await pm.dispose().catch(() => {}); // the first error tells more
    throw error;
  }
  const log = pm.file('pm2.log');
  await pm.dispose().catch((error) => {
    throw new Error(`${what}: ${error.message}\n${log}`);
  });
}

function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  return Promise.race([
    promise,
    new Promise<T>((_, reject) => setTimeout(() => reject(new Error(`${what} hangs`)), ms).unref()),
  ]);
}

describe.runIf(underTest === 'ours')('killed in the middle of', () => {
  for (const one of cases) {
    test(
      one.verb.join(' '),
      async () => {
        for (let n = 0; n < ROUNDS; n += 1) {
          const rounds = await Promise.allSettled([round(one, 'daemon'), round(one, 'keeper')]);
          for (const result of rounds) if (result.status === 'rejected') throw result.reason;
        }
      },
      60_000 * ROUNDS,
    );
  }
});

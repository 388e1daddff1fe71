// The manager in the foreground: pm2-runtime, pm2-dev, --no-daemon.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { alive, parentOf, processesWith } from '../lib/scratch.ts';
import { apps, calledAs, onlyOurs, underTest } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const runtime = calledAs('pm2-runtime');
const script = (name: string, text: string) => {
  const file = path.join(pm.dir, name);
  writeFileSync(file, text);
  return file;
};
/** Says something on both streams, and good-bye. */
const talks = () =>
  script(
    'talks.js',
    `console.log('to out'); console.error('to err'); setInterval(() => {}, 1000);
process.on('SIGINT', () => { console.log('good-bye'); process.exit(0); });`,
  );
const left = () => processesWith(`PM2_HOME=${pm.home}`).filter(alive);

describe('pm2-runtime', () => {
  async function streams(signal: NodeJS.Signals) {
    const run = pm.followWith(runtime, {}, talks());
    await until('both streams', () => run.stdout().includes('to out') && run.stderr().includes('to err'));
    expect(run.stdout()).toMatch(/^to out$/m);
    expect(run.stdout()).not.toContain('to err');
    expect(run.stdout()).toMatch(/PM2 log: App \[talks:0\] online/);
    run.end(signal);
    expect(await run.ended).toBe(0);
    expect(run.stdout()).toMatch(/^good-bye$/m);
    expect(left()).toEqual([]);
    expect(existsSync(path.join(pm.home, 'rpc.sock'))).toBe(false);
  }

  test('pm2-runtime streams what an app writes, and SIGINT ends it with 0', () => streams('SIGINT'));
  test('pm2-runtime streams what an app writes, and SIGTERM ends it with 0', () => streams('SIGTERM'));

  test('pm2-runtime start, name, arguments and the forms of lines', async () => {
    const echo = script(
      'echo.js',
      `console.log('args', ...process.argv.slice(2)); setInterval(() => {}, 1000);`,
    );
    const rest = ['start', echo, '--name', 'web', '--formatted', '--', '-a', 'b'];
    const labelled = pm.followWith(runtime, {}, ...rest);
    await until('a labelled line', () => labelled.text().includes('args -a b'));
    expect(labelled.stdout()).toMatch(/0\|web {2}\| args -a b/);
    labelled.end('SIGINT');
    expect(await labelled.ended).toBe(0);

    const json = pm.followWith(runtime, {}, echo, '--json', '--', 'c');
    await until('a line of it', () => json.stdout().includes('"message":"args c"'));
    const objects = json
      .stdout()
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line));
    const said = objects.filter((object) => object.message);
    expect(said[0]).toMatchObject({ message: 'args c', type: 'out', app_name: 'echo' });
    expect(objects).toContainEqual(expect.objectContaining({ type: 'process_event', status: 'online' }));
    json.end('SIGINT');
    await json.ended;

    const pairs = pm.followWith(runtime, {}, echo, '--format');
    await until('pairs', () => /^timestamp=\S+ app=echo id=0 type=out message=args$/m.test(pairs.stdout()));
    pairs.end('SIGINT');
    await pairs.ended;
  });

  test('pm2-runtime with a configuration file, --only and --env', async () => {
    const said = script('said.js', `console.log('mode', process.env.MODE); setInterval(() => {}, 1000);`);
    const app = { script: said, env: { MODE: 'plain' }, env_production: { MODE: 'production' } };
    const file = path.join(pm.dir, 'apps.json');
    writeFileSync(
      file,
      JSON.stringify({
        apps: [
          { ...app, name: 'one' },
          { ...app, name: 'two' },
        ],
      }),
    );
    const run = pm.followWith(runtime, {}, file, '--only', 'two', '--env', 'production');
    await until('it speaks', () => run.stdout().includes('mode production'));
    expect((await pm.list()).map((entry) => entry.name)).toEqual(['two']);
    run.end('SIGTERM');
    expect(await run.ended).toBe(0);
  });

  test('pm2-runtime ends with 2 when no app is left', async () => {
    const run = pm.followWith(runtime, {}, script('done.js', `console.log('done');`), '--no-autorestart');
    expect(await run.ended).toBe(2);
    expect(run.stdout()).toMatch(/^done$/m);
    for (const n of [3, 2, 1, 0]) expect(run.stdout()).toContain(`0 application online, retry = ${n}`);
    expect(left()).toEqual([]);
  });

  test('pm2-runtime without an app prints its usage and ends with 1', async () => {
    const { code, stdout } = await pm.with(runtime, []);
    expect(code).toBe(1);
    expect(stdout).toContain('Usage:');
    expect(stdout).toContain('--no-auto-exit');
  });

  onlyOurs('pm2-runtime with a script that is not there ends with 1 and leaves nothing', async () => {
    const run = pm.followWith(runtime, {}, path.join(pm.dir, 'nope.js'));
    expect(await run.ended).toBe(1);
    expect(run.stderr()).toContain('Script not found');
    expect(left()).toEqual([]);
  });

  onlyOurs(
    'pm2-runtime with a file of which nothing is to run ends with 1, and keeps its output clean',
    async () => {
      const file = path.join(pm.dir, 'some.json');
      writeFileSync(file, JSON.stringify({ apps: [{ name: 'one', script: talks() }] }));
      const none = pm.followWith(runtime, {}, 'start', file, '--only', 'another');
      expect(await none.ended).toBe(1);
      expect(none.stderr()).toContain(`0 application started (no apps to run on ${file})`);
      expect(left()).toEqual([]);

      const run = pm.followWith(runtime, {}, 'start', file, '--env', 'nope', '--json');
      await until('the app has spoken', () => /"app_name":"one"/.test(run.stdout()));
      expect(run.stdout()).not.toContain('[PM2]');
      expect(run.stderr()).toContain('Environment [nope] is not defined in process file');
      run.end('SIGTERM');
      expect(await run.ended).toBe(0);
    },
  );

  onlyOurs('pm2-runtime refuses a home where a daemon runs', async () => {
    await pm.ok('start', path.join(apps, 'prints.js'));
    const { pid } = await pm.app('prints');
    const { code, stderr } = await pm.with(runtime, [talks()]);
    expect(code).toBe(1);
    expect(stderr).toContain('a daemon runs in');
    expect((await pm.app('prints')).pid).toBe(pid);
  });

  onlyOurs('pm2-runtime goes on when its daemon is killed', async () => {
    const counts = script('counts.js', `let n = 0; setInterval(() => console.log('n', n++), 50);`);
    const run = pm.followWith(runtime, {}, counts);
    await until('it counts', () => run.stdout().includes('n 3'));
    const { pid } = await pm.app('counts');
    const daemon = pm.daemonPid();
    process.kill(daemon, 'SIGKILL');
    await until('another daemon', () => pm.daemonPid() !== daemon);
    const before = run.stdout().length;
    await until('it is heard again', () => run.stdout().slice(before).includes('n '));
    expect((await pm.app('counts')).pid).toBe(pid);
    run.end('SIGINT');
    expect(await run.ended).toBe(0);
  });

  // A namespace of pids needs root; a container has it anyway.
  test.runIf(underTest === 'ours' && process.getuid?.() === 0)(
    'pm2-runtime as process 1 collects orphans and ends at SIGTERM',
    async () => {
      const orphans = script(
        'orphans.sh',
        `for i in 1 2 3 4 5; do (sleep 0.2 & exec true) & done
while true; do
  sleep 0.3
  dead=0
  for stat in /proc/[0-9]*/stat; do case "$(cat $stat 2>/dev/null)" in *") Z "*) dead=$((dead + 1));; esac; done
  echo "first $(tr '\\0' ' ' < /proc/1/cmdline) dead $dead"
done`,
      );
      const args = ['--pid', '--fork', '--mount-proc', runtime.path, orphans, '--name', 'orphans'];
      const run = pm.followWith({ path: 'unshare', node: false }, {}, ...args);
      await until('no dead process is left', () => /first .*pm2-runtime.* dead 0/.test(run.stdout()));
      const first = await until('process 1', () =>
        processesWith(`PM2_HOME=${pm.home}`).find((pid) => parentOf(pid) === run.pid()),
      );
      process.kill(first, 'SIGTERM');
      expect(await run.ended).toBe(0);
    },
  );
});

describe('pm2-dev', () => {
  // The original of this release starts its daemon, then nothing, and says nothing.
  onlyOurs('pm2-dev shows what an app says and restarts it when a file changes', async () => {
    const dir = path.join(pm.dir, 'project');
    mkdirSync(dir);
    const file = path.join(dir, 'app.js');
    writeFileSync(file, `console.log('version 1'); setInterval(() => {}, 1000);`);
    const run = pm.followWith(calledAs('pm2-dev'), { cwd: dir }, file, '--post-exec', 'echo after');
    await until('it starts', () => run.stdout().includes('app-0  | version 1'));
    expect(run.stdout()).toContain('PM2 development mode');
    const { pm2_env } = await pm.app('app');
    expect(pm2_env.watch).toBeTruthy();
    expect(pm2_env.restart_delay).toBe(1000);
    await until(
      'the change is seen',
      () => {
        writeFileSync(file, `console.log('version 2'); setInterval(() => {}, 1000);`);
        return run.stdout().includes('version 2');
      },
      { every: 500 },
    );
    await until(
      'it is told',
      () => run.stdout().includes('App app restarted') && run.stdout().includes('after'),
    );
    run.end('SIGINT');
    expect(await run.ended).toBe(0);
    expect(run.stdout()).toMatch(/PM2 DEV\].*session/);
    expect(left()).toEqual([]);
  });
});

test('start --no-daemon streams with the time, and prints the list', async () => {
  const run = pm.follow('start', talks(), '--no-daemon');
  await until('a line', () => /\d\d:\d\d:\d\d .*0\|talks\s+\| to out/.test(run.text()));
  expect(run.text()).toContain('│ talks');
  const { pid } = await pm.app('talks');
  await pm.ok('stop', 'talks');
  await until('the stop is heard', () => run.text().includes('good-bye') && !alive(pid));
});

onlyOurs('start --no-daemon ends everything at SIGINT', async () => {
  const run = pm.follow('start', talks(), '--no-daemon');
  await until('a line', () => run.text().includes('to out'));
  run.end('SIGINT');
  expect(await run.ended).toBe(0);
  expect(left()).toEqual([]);
});

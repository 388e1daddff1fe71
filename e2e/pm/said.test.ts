// What is said of what was done, in which order, and on which of the two outputs: scripts read it.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { apps, onlyOurs, underTest } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const app = path.join(apps, 'prints.js');
const file = (config: object) => {
  const found = path.join(pm.dir, 'said.json');
  writeFileSync(found, JSON.stringify(config));
  return found;
};
const lines = (text: string) => text.split('\n').filter((line) => line.startsWith('[PM2]'));

test('warnings where nothing went wrong are on standard output, where something did on standard error', async () => {
  const config = file({ apps: [{ name: 'one', script: app, cron_restart: '0 0 1 1 *', env: { A: '1' } }] });
  const started = await pm.run('start', config, '--env', 'nope');
  expect([started.code, started.stderr]).toEqual([0, '']);
  expect(lines(started.stdout)).toEqual(
    expect.arrayContaining([
      '[PM2][WARN] Applications one not running, starting...',
      '[PM2][WARN] Environment [nope] is not defined in process file',
      '[PM2] App [one] launched (1 instances)',
    ]),
  );
  const stopped = await pm.run('stop', 'one');
  expect(stopped.stdout).toContain('[PM2][WARN] App one stopped but CRON RESTART is still UP 0 0 1 1 *');
  await pm.ok('delete', 'one');
  expect((await pm.run('save')).stdout).toContain(
    '[PM2][WARN] PM2 is not managing any process, skipping save...',
  );
  for (const verb of ['stop', 'restart', 'delete']) {
    const { code, stderr } = await pm.run(verb, 'all');
    expect([code, stderr]).toEqual([1, '[PM2][WARN] No process found\n']);
  }
  const { stderr } = await pm.run('describe', 'nobody');
  expect(stderr).toContain("[PM2][WARN] nobody doesn't exist");
});

test('an attribute of the wrong kind is told on both', async () => {
  await pm.ok('ping');
  const { code, stdout, stderr } = await pm.run('start', app, '--restart-delay', 'abc');
  const words = 'Expect "restart_delay" to be a typeof [object Number], but now is [object String]';
  expect([code, stdout, stderr]).toEqual([1, `[PM2][WARN] ${words}\n`, `[PM2][ERROR] ${words}\n`]);
});

test('apps of a file are acted on side by side, and each is told', async () => {
  const two = [
    { name: 'one', script: app },
    { name: 'two', script: app },
  ];
  await pm.ok('start', file({ apps: two }));
  for (const [verb, method] of [
    ['restart', 'restartProcessId'],
    ['startOrReload', 'reloadProcessId'],
  ]) {
    const { stdout } = await pm.ok(String(verb), path.join(pm.dir, 'said.json'));
    const said = lines(stdout);
    const applied = [
      `[PM2] Applying action ${method} on app [one](ids: [ 0 ])`,
      `[PM2] Applying action ${method} on app [two](ids: [ 1 ])`,
    ];
    const done = ['[PM2] [one](0) ✓', '[PM2] [two](1) ✓'];
    expect([...said].sort()).toEqual([...applied, ...done].sort());
    for (const app of [0, 1]) {
      expect(said.indexOf(String(applied[app]))).toBeLessThan(said.indexOf(String(done[app])));
    }
    // The original asks the daemon for the ids of both at once, and tells them as the answers come.
    if (underTest === 'ours') {
      expect(said.slice(0, 2)).toEqual(applied);
    }
  }
});

test('a process with a new name is told by that, and one that is brought back by its path', async () => {
  await pm.ok('start', app, '--name', 'old');
  expect((await pm.ok('restart', 'old', '--name', 'new')).stdout).toContain('[PM2] [new](0) ✓');
  await pm.ok('save');
  await pm.ok('delete', 'all');
  expect((await pm.ok('resurrect')).stdout).toContain(`[PM2] Process ${app} restored`);
});

test('--write says where', async () => {
  const { stdout } = await pm.ok('start', app, '--name', 'kept', '--write');
  const written = path.join(pm.dir, 'kept-pm2.json');
  expect(stdout).toContain(`[PM2] Writing configuration to ${written}`);
  await pm.ok('delete', 'all');
  await pm.ok('start', written);
  expect((await pm.app('kept')).pm2_env.status).toBe('online');
  expect(readFileSync(written, 'utf8')).toContain('"name": "kept"');
});

test('env tells the last variable first', async () => {
  const config = file({ apps: [{ name: 'one', script: app, env: { FIRST: '1', SECOND: '2' } }] });
  await pm.ok('start', config);
  const { stdout } = await pm.ok('env', '0');
  const names = stdout.split('\n').map((line) => line.split(':')[0]);
  expect(names).toEqual(expect.arrayContaining(['FIRST', 'SECOND', 'unique_id']));
  expect(names.indexOf('unique_id')).toBeLessThan(names.indexOf('SECOND'));
  expect(names.indexOf('SECOND')).toBeLessThan(names.indexOf('FIRST'));
});

test('describe has the limits before the uptime', async () => {
  await pm.ok('start', app, '--max-memory-restart', '300M', '--cron', '0 0 1 1 *');
  const { stdout } = await pm.ok('describe', 'prints');
  expect(stdout).toMatch(/restarts .*\n.*max memory restart .*314572800.*\n.*cron restart .*\n.*uptime /);
});

test('logs shows what is in the files of the two outputs, and not once more what is in the combined one', async () => {
  await pm.ok('start', app, '--name', 'all', '--log', 'combined.log');
  const quiet = path.join(pm.dir, 'quiet.js');
  writeFileSync(quiet, 'setInterval(() => {}, 1000);');
  await pm.ok('start', quiet);
  await until('all is written', () => /stderr/.test(pm.file('logs/all-error.log')));
  const { stdout } = await pm.ok('logs', '--nostream', '--lines', '2');
  expect(stdout).not.toContain('combined.log');
  // An empty file has its line, and no other.
  const of = (name: string) => path.join(pm.home, 'logs', name);
  const said = stdout.slice(stdout.indexOf('pm2.log last 2 lines:'));
  expect(said.match(/to stderr/g)).toHaveLength(1);
  for (const name of ['quiet-out.log', 'quiet-error.log']) {
    expect(said).toMatch(new RegExp(`${of(name)} last 2 lines:\n(?!\n)`));
  }
});

test('start of a script whose processes are all stopped starts all of them, and tells the name', async () => {
  await pm.ok('start', app, '--name', 'many', '-i', '2');
  await pm.ok('stop', 'many');
  const again = await pm.ok('start', app, '--name', 'many', '-i', '2');
  const said = lines(again.stdout);
  expect(said[0]).toBe('[PM2] Applying action restartProcessId on app [many](ids: [ 0, 1 ])');
  expect(said.slice(1, 3).sort()).toEqual(['[PM2] [many](0) ✓', '[PM2] [many](1) ✓']);
  expect((await pm.list()).map((p) => p.pm2_env.status)).toEqual(['online', 'online']);
  // The last one says whether it runs.
  await pm.ok('stop', '0');
  const refused = await pm.run('start', app, '--name', 'many');
  expect([refused.code, refused.stderr]).toEqual([
    1,
    '[PM2][ERROR] Script already launched, add -f option to force re-execution\n',
  ]);
});

test('of --node-args and --interpreter-args the second counts', async () => {
  await pm.ok('start', app, '--interpreter-args', '--trace-warnings', '--node-args', '--no-warnings');
  expect((await pm.app('prints')).pm2_env.node_args).toEqual(['--trace-warnings']);
});

test('a cron pattern that is a number starts nothing', async () => {
  const config = file({ apps: [{ name: 'one', script: app, cron_restart: 5 }] });
  await pm.run('start', config);
  expect(await pm.list()).toEqual([]);
});

onlyOurs('what could not be started is told with the reason', async () => {
  const bare = path.join(pm.dir, 'bare');
  writeFileSync(bare, 'echo hello\n');
  const nowhere = path.join(pm.dir, 'nowhere');
  for (const [words, reason] of [
    [['--interpreter', 'none'], `running the program (${bare}): Permission denied`],
    [
      ['--interpreter', 'bash', '--cwd', nowhere],
      `entering its working directory (${nowhere}): No such file`,
    ],
  ] as const) {
    const { code, stderr } = await pm.run('start', bare, ...words);
    expect(code).toBe(1);
    expect(stderr).toContain(`could not be started: ${reason}`);
    await pm.ok('delete', 'all');
  }
});

test('a folder is a script to Node: its index, or the main module of its package', async () => {
  for (const [folder, main, facts] of [
    ['plain', 'index.js', undefined],
    ['package', 'main.js', { version: '1.2.3', main: 'main.js' }],
    ['modules', 'main.js', { version: '2.0.0', main: './main.js', type: 'module' }],
  ] as const) {
    const at = path.join(pm.dir, folder);
    mkdirSync(at);
    writeFileSync(path.join(at, main), `console.log('this is ${folder}'); setInterval(() => {}, 1000);`);
    if (facts) writeFileSync(path.join(at, 'package.json'), JSON.stringify(facts));
    await pm.ok('start', `./${folder}/`, '--name', folder);
    await until(`${folder} runs`, () => pm.file('logs', `${folder}-out.log`) === `this is ${folder}\n`);
    const { status, version } = (await pm.app(folder)).pm2_env;
    expect([status, version]).toEqual(['online', facts?.version ?? 'N/A']);
  }
  // From within it is a dot.
  const here = await pm.with(pm.program, ['start', '.', '-i', '2'], { cwd: path.join(pm.dir, 'package') });
  expect(here.code).toBe(0);
});

test('what stands behind -- is a target of verbs that hand nothing on, and may begin with a dash', async () => {
  await pm.ok('start', app, '--name', '-dash');
  expect((await pm.ok('stop', '--', '-dash')).stdout).toContain('[PM2] [-dash](0) ✓');
  expect((await pm.app('-dash')).pm2_env.status).toBe('stopped');
});

test('an empty name is none, and a blank one names nothing to start', async () => {
  await pm.ok('start', app, '--name', '');
  expect((await pm.app('prints')).pm2_env.status).toBe('online');
  expect((await pm.run('start', ' ')).code).toBe(1);
});

test('a name that is a number is a name first', async () => {
  await pm.ok('start', app, '--name', '7');
  await pm.ok('start', app, '--name', 'other', '--namespace', '5');
  for (const [target, id] of [
    ['7', 0],
    ['5', 1],
  ])
    expect(lines((await pm.ok('stop', String(target))).stdout)[0]).toBe(
      `[PM2] Applying action stopProcessId on app [${target}](ids: [ ${id} ])`,
    );
});

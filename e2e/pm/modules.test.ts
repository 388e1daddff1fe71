// Modules: packages that run beside the apps.
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
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

const SCRIPT = `console.log('module', process.env.alpha, process.env.beta, process.env['e2e-mod']);
setInterval(() => {}, 1000);`;

/** Writes a package into a folder of the scratch place. */
function folder(name: string, version: string, script = SCRIPT, more: object = {}): string {
  const dir = path.join(pm.dir, `${name}-${version}`);
  mkdirSync(dir, { recursive: true });
  const manifest = { name, version, main: 'index.js', config: { alpha: '1', beta: { x: 1 } }, ...more };
  writeFileSync(path.join(dir, 'package.json'), JSON.stringify(manifest));
  writeFileSync(path.join(dir, 'index.js'), script);
  return dir;
}

/** The same as a packed package, as npm takes it. Packing and installing it needs no network. */
function packed(name: string, version: string, script?: string): string {
  const dir = folder(name, version, script);
  const [file] = execFileSync('npm', ['pack', '--silent', '--pack-destination', pm.dir], { cwd: dir })
    .toString()
    .trim()
    .split('\n')
    .slice(-1);
  return path.join(pm.dir, String(file));
}

const asRoot = test.runIf(underTest === 'ours' && process.getuid?.() === 0);
const conf = () => JSON.parse(pm.file('module_conf.json'));
const names = async () => (await pm.list()).map((entry) => entry.name);
const output = (text: string) =>
  until(`the module says ${text}`, () => pm.file('logs/e2e-mod-out.log').includes(text));

test('install runs a package of npm with its configuration', async () => {
  const { stdout } = await pm.ok('install', packed('e2e-mod', '1.2.3'));
  expect(stdout).toContain('[PM2][Module] Module downloaded');
  expect(stdout).toContain('[PM2][Module] Module successfully installed and launched');
  expect(stdout).toContain('$ pm2 set e2e-mod:alpha 1');
  // A table of its own.
  expect(stdout).toMatch(/Module\n┌─+┬/);
  const entry = await pm.status('e2e-mod', 'online');
  const place = path.join(pm.home, 'modules/e2e-mod/node_modules/e2e-mod');
  expect(entry.pm2_env).toMatchObject({
    pmx_module: true,
    pm_cwd: place,
    pm_exec_path: path.join(place, 'index.js'),
    version: '1.2.3',
    namespace: 'default',
  });
  expect(conf()).toEqual({
    'e2e-mod': { alpha: '1', beta: { x: 1 } },
    'module-db-v2': { 'e2e-mod': {} },
  });
  await output('module 1 {"x":1} {"alpha":"1","beta":{"x":1}}');
});

test('a module is not among all, not in the dump, and is there again with the next daemon', async () => {
  await pm.ok('install', packed('e2e-mod', '1.0.0'));
  await pm.ok('start', path.join(apps, 'prints.js'));
  await pm.ok('delete', 'all');
  expect(await names()).toEqual(['e2e-mod']);
  const { code, stderr } = await pm.run('stop', 'all');
  expect(code).toBe(1);
  expect(stderr).toContain('No process found');
  await pm.ok('save', '--force');
  expect(JSON.parse(pm.file('dump.pm2'))).toEqual([]);
  await pm.ok('kill');
  await pm.ok('list');
  expect((await pm.status('e2e-mod', 'online')).pm2_env.pmx_module).toBe(true);
  await pm.ok('stop', 'e2e-mod');
  expect((await pm.app('e2e-mod')).pm2_env.status).toBe('stopped');
});

test('install again replaces the version and keeps what was set', async () => {
  await pm.ok('install', packed('e2e-mod', '1.0.0'));
  const file = path.join(pm.home, 'module_conf.json');
  const stored = conf();
  stored['e2e-mod'].alpha = 'mine';
  writeFileSync(file, JSON.stringify(stored));
  await pm.ok('install', packed('e2e-mod', '2.0.0'));
  expect(await names()).toEqual(['e2e-mod']);
  expect((await pm.status('e2e-mod', 'online')).pm2_env.version).toBe('2.0.0');
  await output('module mine');
});

test('an installation that fails leaves the former version running', async () => {
  await pm.ok('install', packed('e2e-mod', '1.0.0'));
  const { code, stderr } = await pm.run('install', path.join(pm.dir, 'e2e-mod-9.9.9.tgz'));
  expect(code).toBe(1);
  expect(stderr).toContain('Installation failed via NPM');
  const entry = await pm.status('e2e-mod', 'online');
  expect(entry.pm2_env.version).toBe('1.0.0');
});

test('install --safe brings the former version back when the new one keeps dying', async () => {
  await pm.ok('install', packed('e2e-mod', '1.0.0'));
  const { code } = await pm.run('install', packed('e2e-mod', '2.0.0', 'process.exit(1)'), '--safe');
  expect(code).toBe(1);
  const entry = await pm.status('e2e-mod', 'online');
  expect(entry.pm2_env).toMatchObject({ version: '1.0.0', restart_time: 0 });
  expect(conf()['module-db-v2']).toHaveProperty('e2e-mod');
});

test('uninstall removes processes, folder and entry, and knows what is no module', async () => {
  await pm.ok('install', packed('e2e-mod', '1.0.0'));
  await pm.ok('uninstall', 'e2e-mod');
  expect(await names()).toEqual([]);
  expect(existsSync(path.join(pm.home, 'modules/e2e-mod'))).toBe(false);
  expect(conf()).toEqual({ 'e2e-mod': { alpha: '1', beta: { x: 1 } }, 'module-db-v2': {} });
  const { code, stderr } = await pm.run('uninstall', 'e2e-mod');
  expect(code).toBe(1);
  expect(stderr).toContain('[PM2][Module][ERROR] Unknown module');
});

test('install . runs the folder itself and watches it', async () => {
  const dir = folder('e2e-mod', '1.0.0');
  const child = await pm.with(pm.program, ['install', '.'], { cwd: dir });
  expect(child.code).toBe(0);
  const entry = await pm.status('e2e-mod', 'online');
  expect(entry.pm2_env).toMatchObject({ pmx_module: true, watch: true, pm_cwd: dir });
});

test('package and install of a tarball with several apps', async () => {
  const dir = folder('e2e-tar', '1.2.3', SCRIPT, {
    apps: [
      { name: 'one', script: 'index.js' },
      { name: 'two', script: 'index.js' },
    ],
  });
  await pm.ok('package', dir);
  const tarball = path.join(pm.dir, 'e2e-tar-1.2.3-v1-2-3.tar.gz');
  const inside = execFileSync('tar', ['tzf', tarball]).toString();
  expect(inside).toContain('module/package.json');
  await pm.ok('install', tarball);
  expect((await names()).sort()).toEqual(['e2e-tar:one', 'e2e-tar:two']);
  expect(conf()['tar-modules']['e2e-tar'].source).toBe('tarball');
  expect(existsSync(path.join(pm.home, 'modules/e2e-tar/index.js'))).toBe(true);
  await pm.ok('kill');
  await pm.ok('list');
  await pm.status('e2e-tar:two', 'online');
  await pm.ok('uninstall', 'e2e-tar');
  expect(await names()).toEqual([]);
  expect(conf()['tar-modules']).toEqual({});
});

onlyOurs('install of a folder copies it', async () => {
  await pm.ok('install', folder('e2e-mod', '1.0.0'));
  const entry = await pm.status('e2e-mod', 'online');
  expect(entry.pm2_env.pm_cwd).toBe(path.join(pm.home, 'modules/e2e-mod/node_modules/e2e-mod'));
  expect(entry.pm2_env.watch).toBeFalsy();
});

onlyOurs('a sample module runs as it is written', async () => {
  await pm.ok('module:generate', 'sample');
  const dir = path.join(pm.dir, 'sample');
  expect(readdirSync(dir).sort()).toEqual(['README.md', 'index.js', 'package.json']);
  await pm.ok('install', dir);
  await pm.status('sample', 'online');
  const { code, stderr } = await pm.run('module:generate', 'sample');
  expect(code).toBe(1);
  expect(stderr).toContain('is there already');
});

onlyOurs('a module that can be no module is refused, and nothing is left of it', async () => {
  for (const [name, more, word] of [
    ['nothing-to-run', { main: undefined }, 'nothing to run'],
    ['broken', { main: 'not-there.js' }, 'not-there.js'],
  ] as const) {
    const { code, stderr } = await pm.run('install', folder(name, '1.0.0', SCRIPT, more));
    expect(code).toBe(1);
    expect(stderr).toContain(word);
  }
  expect(await names()).toEqual([]);
  expect(readdirSync(path.join(pm.home, 'modules'))).toEqual([]);
  expect(conf()['module-db-v2'] ?? {}).toEqual({});
  const broken = path.join(pm.dir, 'broken.tar.gz');
  writeFileSync(broken, 'no tarball');
  expect((await pm.run('install', broken)).code).toBe(1);
  expect(readdirSync(path.join(pm.home, 'modules'))).toEqual([]);
});

onlyOurs('a broken module_conf.json is told and kept', async () => {
  await pm.ok('list');
  const file = path.join(pm.home, 'module_conf.json');
  writeFileSync(file, '{ oops');
  const { code, stderr } = await pm.run('install', packed('e2e-mod', '1.0.0'));
  expect(code).toBe(1);
  expect(stderr).toContain('module_conf.json');
  expect(readFileSync(file, 'utf8')).toBe('{ oops');
});

test('what is configured of a module is among its options, and so is what is set later', async () => {
  await pm.ok('install', packed('e2e-mod', '1.2.3'));
  const options = (check: (options: Record<string, unknown>) => unknown) =>
    until('its options are told', async () => {
      const { axm_options } = (await pm.app('e2e-mod')).pm2_env;
      return check(axm_options) && axm_options;
    });
  const first = await options(({ module_conf }) => module_conf);
  expect(first).toMatchObject({
    module_name: 'e2e-mod',
    alpha: 1,
    beta: { x: 1 },
    module_conf: { alpha: 1, beta: { x: 1 } },
    apm: { type: 'node' },
  });
  await pm.ok('set', 'e2e-mod:alpha', '5');
  await pm.ok('set', 'e2e-mod:probes', 'true');
  await pm.ok('set', 'e2e-mod:password', 'other');
  const then = await options(
    ({ alpha, module_conf, probes }) => alpha === 5 && probes === true && module_conf,
  );
  // Text that is a number is told as one; what a dashboard must not show is not told.
  expect(then.module_conf).toMatchObject({ alpha: 5, password: 'Password hidden' });
  expect(then.module_conf).not.toHaveProperty('probes');
});

test('install takes a module from a git repository', async () => {
  const dir = folder('e2e-mod', '3.1.4');
  const someone = ['-c', 'user.name=a', '-c', 'user.email=a@b', '-c', 'init.defaultBranch=main'];
  const git = (...args: string[]) =>
    execFileSync('git', [...someone, ...args], { cwd: dir, stdio: 'ignore' });
  git('init');
  git('add', '-A');
  git('commit', '-m', 'a module');
  const bare = path.join(pm.dir, 'e2e-mod.git');
  git('clone', '--bare', '.', bare);
  await pm.ok('install', `git+file://${bare}`);
  const entry = await pm.status('e2e-mod', 'online');
  expect(entry.pm2_env).toMatchObject({ version: '3.1.4', pmx_module: true });
  await output('module 1 {"x":1}');
});

// The original hands the name on as it is, which its Node refuses: "must be int32".
asRoot("a module runs as the user that install names, and so does the next daemon's", async () => {
  const dir = folder(
    'e2e-mod',
    '1.0.0',
    `console.log('WHO', process.getuid(), process.getgid()); setInterval(() => {}, 1000);`,
  );
  const file = execFileSync('npm', ['pack', '--silent', '--pack-destination', pm.dir], { cwd: dir })
    .toString()
    .trim();
  // The folders of a home are for its owner; this one is for the module's user too.
  chmodSync(pm.dir, 0o755);
  await pm.ok('install', path.join(pm.dir, file), '--uid', 'nobody', '--gid', 'daemon');
  await output('WHO 65534 1');
  expect(conf()['module-db-v2']['e2e-mod']).toEqual({ uid: 'nobody', gid: 'daemon' });
  await pm.ok('kill');
  await pm.ok('flush');
  await pm.status('e2e-mod', 'online');
  await until('it says so again', () => pm.file('logs/e2e-mod-out.log').match(/WHO 65534 1/g)?.length);
});

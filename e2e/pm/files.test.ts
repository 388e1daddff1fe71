// Kinds of configuration files, on both sides; and what is ours around them: TOML, validate, schema, apply.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const app = (name: string) => path.join(apps, name);

function write(name: string, content: string | object): string {
  const file = path.join(pm.dir, name);
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content, null, 2));
  return file;
}

describe('modules', () => {
  const script = JSON.stringify(app('prints.js'));
  test.each([
    ['CommonJS by name', 'eco.config.cjs', `module.exports = { apps: [{ name: 'one', script: ${script} }] }`],
    ['an ES module by name', 'eco.config.mjs', `export const apps = [{ name: 'one', script: ${script} }];`],
    [
      'a list, with __dirname and an import of its own',
      'eco.config.js',
      `const path = require('path');
module.exports = [{ name: path.basename(__filename, '.config.js') === 'eco' ? 'one' : 'none', script: ${script} }];`,
    ],
  ])('%s', async (_, name, text) => {
    await pm.ok('start', write(name, text));
    expect((await pm.list()).map((entry) => entry.name)).toEqual(['one']);
  });

  test('a .js file in a package of ES modules', async () => {
    write('package.json', { type: 'module' });
    const file = write('eco.config.js', `export const apps = [{ name: 'one', script: ${script} }];`);
    await pm.ok('start', file);
    expect((await pm.list()).map((entry) => entry.name)).toEqual(['one']);
  });

  onlyOurs('export default', async () => {
    const file = write(
      'eco.config.mjs',
      `import os from 'node:os';
console.log('noise');
export default { apps: [{ name: 'one', script: ${script}, env: { CPUS: os.cpus().length } }] };`,
    );
    await pm.ok('start', file);
    expect((await pm.list()).map((entry) => entry.name)).toEqual(['one']);
    const { stdout } = await pm.ok('apply', file, '--json');
    expect(JSON.parse(stdout).changes).toMatchObject([{ action: 'none' }]);
  });
});

test('the pm2 section of a package.json', async () => {
  const file = write('package.json', {
    name: 'thing',
    version: '1.0.0',
    pm2: [{ name: 'packaged', script: app('prints.js') }],
  });
  await pm.ok('start', file);
  expect((await pm.list()).map((entry) => entry.name)).toEqual(['packaged']);
});

test('the variables of a deploy environment lie below those of the app', async () => {
  const file = write('eco.json', {
    apps: [{ name: 'web', script: app('prints.js'), env: { A: 'app' }, env_live: { B: 'overlay' } }],
    deploy: { live: { env: { A: 'deploy', B: 'deploy', C: 'deploy' } } },
  });
  await pm.ok('start', file, '--env', 'live');
  const { env } = (await pm.app('web')).pm2_env;
  expect([env.A, env.B, env.C]).toEqual(['deploy', 'overlay', 'deploy']);
});

onlyOurs('TOML', async () => {
  const file = write(
    'apps.toml',
    `[[apps]]
name = "one"
script = "${app('prints.js')}"
args = ["a", "b c"]
kill_timeout = 500
[apps.env]
PORT = 8080
[apps.env_production]
PORT = 80

[[apps]]
name = "two"
script = "${app('loop.py')}"
`,
  );
  await pm.ok('start', file, '--env', 'production', '--only', 'one');
  const { pm2_env } = await pm.app('one');
  expect(pm2_env).toMatchObject({ args: ['a', 'b c'], kill_timeout: 500 });
  expect(pm2_env.env.PORT).toBe(80);
  expect(await pm.list()).toHaveLength(1);
  const { code, stderr } = await pm.run('start', write('broken.toml', '[[apps]]\nname = one\n'));
  expect(code).toBe(1);
  expect(stderr).toMatch(/broken\.toml:2:8: the TOML can't be read/);
});

describe('validate', () => {
  onlyOurs('a file without mistakes is told so, and starts nothing', async () => {
    const file = write('good.json', { apps: [{ script: app('prints.js'), kill_timeout: 100 }] });
    const { stdout } = await pm.ok('validate', file);
    expect(stdout).toContain('1 app, nothing to complain about');
    expect(stdout).not.toContain('Spawning');
  });

  onlyOurs('each mistake has its place, in every format', async () => {
    const js = write(
      'bad.config.js',
      `// name: 'api'
const seconds = 5
module.exports = {
  apps: [
    { name: 'worker', script: '${app('prints.js')}' },
    {
      name: 'api',
      script: './nowhere.js',
      kill_timout: seconds,
    },
    { name: 'late', script: '${app('prints.js')}', killTimeout: 'soon' },
  ],
}
`,
    );
    const yaml = write(
      'bad.yaml',
      `apps:
  - name: api
    script: ${app('prints.js')}
    exec_mode: both
`,
    );
    const toml = write('bad.toml', `[[apps]]\nname = "api"\nscript = "${app('prints.js')}"\nwatch = 5\n`);
    const { code, stdout, stderr } = await pm.run('validate', js, yaml, toml);
    const text = stdout + stderr;
    expect(code).toBe(1);
    expect(text).toContain(`${js}:8:7: Script not found: ${path.join(pm.dir, 'nowhere.js')}`);
    expect(text).toContain(`${js}:9:7: the attribute kill_timout is not known and means nothing`);
    expect(text).toContain('did you mean kill_timeout?');
    expect(text).toMatch(/bad\.config\.js:11:\d+: Expect "kill_timeout" to be a typeof \[object Number\]/);
    expect(text).toMatch(/bad\.yaml:4:5: Verify "exec_mode" with regex failed/);
    expect(text).toMatch(/bad\.toml:4:1: Expect "watch" to be a typeof/);
    expect(text).toContain('4 errors, 1 warning');
  });

  onlyOurs('all mistakes of an app are told at once, also that it does not say what to run', async () => {
    const file = write(
      'many.json',
      `[
  { "name": "many", "script": "${app('prints.js')}", "cron": "a b c",
    "exec_mode": "both",
    "sockets": [{ "port": "x" }],
    "max_restarts": -1 },
  { "name": "nothing" }
]
`,
    );
    const { stdout, stderr } = await pm.run('validate', file);
    const text = stdout + stderr;
    for (const told of [
      /:2:\d+: Cron pattern error/,
      /:3:5: Verify "exec_mode"/,
      /:4:5: sockets\[0\]/,
      /:5:5: The minimum of "max_restarts"/,
      /:6:5: No script path/,
    ])
      expect(text).toMatch(told);
    expect(text).toContain("help: say what to run, such as script: './app.js'");
    expect(text).toContain('5 errors, 0 warnings');
  });

  onlyOurs('what is no JSON at all is told with what stands there', async () => {
    const { stderr } = await pm.run('validate', write('yaml.json', 'name: api\nscript: app.js\n'));
    expect(stderr).toContain("yaml.json:1:1: the JSON can't be read: it begins with `name`");
    const empty = await pm.run('validate', write('empty.yaml', '{}\n'));
    expect(empty.stderr).toContain('help: write apps: and below it');
  });

  onlyOurs('--json for machines', async () => {
    const file = write(
      'bad.json',
      '{ "apps": [ { "name": "api", "script": "/no/such", "max_restarts": -1 } ]\n',
    );
    const broken = await pm.run('validate', file, '--json');
    expect(broken.code).toBe(1);
    expect(JSON.parse(broken.stdout)).toMatchObject([{ severity: 'error', line: 1, app: null }]);
    write('bad.json', { apps: [{ name: 'api', script: app('prints.js'), max_restarts: -1 }] });
    const { code, stdout } = await pm.run('validate', file, '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject([
      { severity: 'error', file, line: 6, app: 'api', attribute: 'max_restarts' },
    ]);
  });
});

onlyOurs('schema describes each attribute under all its names', async () => {
  const schema = JSON.parse((await pm.ok('schema')).stdout);
  expect(schema.$schema).toContain('2020-12');
  const { properties } = schema.$defs.app;
  for (const name of ['script', 'exec', 'cmd', 'max_memory_restart', 'maxMemoryRestart', 'cron', 'out_file'])
    expect(properties).toHaveProperty(name);
});

describe('apply', () => {
  const eco = (...list: object[]) => write('eco.json', { apps: list });
  const actions = async (...args: string[]) => {
    const { changes } = JSON.parse((await pm.ok('apply', ...args, '--json')).stdout);
    return Object.fromEntries(changes.map((c: { name: string; action: string }) => [c.name, c.action]));
  };

  onlyOurs('makes the list equal to the file, and then finds nothing to do', async () => {
    await pm.ok('start', app('prints.js'), '--name', 'stranger');
    await pm.ok('start', app('prints.js'), '--name', 'same', '--merge-logs');
    const file = eco(
      { name: 'changed', script: app('prints.js'), kill_timeout: 300, env: { MODE: 'a' } },
      { name: 'moved', script: app('prints.js') },
      { name: 'poorer', script: app('prints.js'), restart_delay: 5 },
      { name: 'many', script: app('prints.js'), instances: 3, exec_mode: 'fork' },
      { name: 'down', script: app('prints.js') },
    );
    await pm.ok('start', file);
    await pm.ok('stop', 'down');
    const before = await pm.list();
    eco(
      { name: 'changed', script: app('prints.js'), kill_timeout: 400, env: { MODE: 'b' } },
      { name: 'moved', script: app('stubborn.js'), kill_timeout: 100 },
      { name: 'poorer', script: app('prints.js') },
      { name: 'many', script: app('prints.js'), instances: 2, exec_mode: 'fork' },
      { name: 'down', script: app('prints.js') },
      { name: 'same', script: app('prints.js') },
      { name: 'new', script: app('prints.js') },
    );

    const dry = (await pm.ok('apply', file, '--dry-run')).stdout;
    expect(dry).toMatch(
      /~ changed +restart with new values\n +kill_timeout: 300 → 400\n +env\.MODE changes\n/,
    );
    expect(dry).toMatch(/~ moved +delete, and start 1 process anew/);
    expect(dry).toMatch(/~ many +scale from 3 to 2/);
    expect(dry).toMatch(/~ down +start what is down: id \d/);
    expect(dry).toMatch(/= same +unchanged/);
    expect(dry).toMatch(/\+ new +start 1 process/);
    expect(dry).toMatch(/- stranger +delete id 0/);
    expect((await pm.list()).map((p) => p.pid)).toEqual(before.map((p) => p.pid));

    expect(await actions(file)).toEqual({
      changed: 'restart',
      moved: 'replace',
      poorer: 'replace',
      many: 'scale',
      down: 'restart',
      same: 'none',
      new: 'start',
      stranger: 'delete',
    });
    const list = await pm.list();
    expect(list.map((p) => p.name).sort()).toEqual(
      ['changed', 'down', 'many', 'many', 'moved', 'new', 'poorer', 'same'].sort(),
    );
    expect(list.every((p) => p.pm2_env.status === 'online')).toBe(true);
    const now = (name: string) => list.find((p) => p.name === name);
    expect(now('same')?.pid).toBe(before.find((p) => p.name === 'same')?.pid);
    expect(now('changed')?.pm2_env).toMatchObject({ kill_timeout: 400, env: { MODE: 'b' } });
    expect(now('moved')?.pm2_env.pm_exec_path).toBe(app('stubborn.js'));
    expect(now('poorer')?.pm2_env).not.toHaveProperty('restart_delay');

    expect((await pm.ok('apply', file)).stdout).toContain('there is nothing to do');
  });

  onlyOurs('--only and --keep-others leave the rest alone', async () => {
    await pm.ok('start', app('prints.js'), '--name', 'stranger');
    const file = eco({ name: 'a', script: app('prints.js') }, { name: 'b', script: app('prints.js') });
    expect(await actions(file, '--only', 'a')).toEqual({ a: 'start' });
    expect(await actions(file, '--keep-others', '--yes')).toEqual({ a: 'none', b: 'start' });
    expect((await pm.list()).map((p) => p.name).sort()).toEqual(['a', 'b', 'stranger']);
  });

  onlyOurs('apps start after those that they depend on', async () => {
    const file = eco(
      { name: 'web', script: app('prints.js'), depends_on: ['db'] },
      { name: 'db', script: app('ready.js'), wait_ready: true },
    );
    await pm.ok('apply', file);
    const [web, db] = [await pm.app('web'), await pm.app('db')];
    expect(web.pm2_env.created_at).toBeGreaterThan(db.pm2_env.created_at);
    expect((await pm.ok('apply', file)).stdout).toContain('there is nothing to do');
    eco({ name: 'web', script: app('prints.js'), depends_on: ['db'] });
    const { code, stderr } = await pm.run('apply', file);
    expect(code).toBe(1);
    expect(stderr).toContain('app web depends on db');
    expect((await pm.list()).length).toBe(2);
  });

  onlyOurs('a mistake in the file changes nothing', async () => {
    await pm.ok('start', app('prints.js'), '--name', 'stays');
    const file = eco({ name: 'a', script: app('prints.js') }, { name: 'b', script: './nowhere.js' });
    const { code, stderr } = await pm.run('apply', file);
    expect(code).toBe(1);
    expect(stderr).toContain('Script not found');
    expect((await pm.list()).map((p) => p.name)).toEqual(['stays']);
    expect(readFileSync(file, 'utf8')).toContain('nowhere');
  });
});

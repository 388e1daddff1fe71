import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const app = (name: string) => path.join(apps, name);
const write = (name: string, text: string) => {
  const file = path.join(pm.dir, name);
  writeFileSync(file, text);
  return file;
};
const names = async () => (await pm.list()).map((entry) => entry.name);

describe('formats', () => {
  test('JSON, with comments and trailing commas', async () => {
    const file = write(
      'apps.json',
      `{ "apps": [ // two of them
        { "name": "one", "script": "${app('prints.js')}", "env": { "CUSTOM": "from file" } },
        { "name": "two", "script": "${app('loop.py')}", },
      ] }`,
    );
    await pm.ok('start', file);
    expect(await names()).toEqual(['one', 'two']);
    await until('the env arrived', () => pm.file('logs/one-out.log').includes('env from file'));
  });

  test('YAML', async () => {
    const file = write(
      'apps.yml',
      `apps:
  - name: yaml
    script: ${app('prints.js')}
    args: [a, "b c"]
    max_restarts: 7
    env:
      CUSTOM: yes
`,
    );
    await pm.ok('start', file);
    const { pm2_env } = await pm.app('yaml');
    expect(pm2_env).toMatchObject({ max_restarts: 7, args: ['a', 'b c'] });
    await until('the env arrived', () => pm.file('logs/yaml-out.log').includes('env yes'));
  });

  test('JavaScript, with require, environment and computed values', async () => {
    write('shared.js', 'module.exports = { who: "computed" };');
    const file = write(
      'ecosystem.config.js',
      `const os = require('os');
const { who } = require('./shared.js');
console.log('configs may print');
module.exports = { apps: [{ name: who, script: '${app('prints.js')}', env: { CUSTOM: __dirname + os.EOL.length } }] };`,
    );
    await pm.ok('start', file);
    await until('the env arrived', () => pm.file('logs/computed-out.log').includes(`env ${pm.dir}1`));
  });

  test('standard input', async () => {
    const { code } = await pm.runWithInput(
      JSON.stringify({ apps: [{ name: 'in', script: app('prints.js') }] }),
      'start',
      '-',
    );
    expect(code).toBe(0);
    expect(await names()).toEqual(['in']);
  });
});

describe('what a file can say', () => {
  test('--env picks an overlay, --only picks apps', async () => {
    const file = write(
      'eco.json',
      JSON.stringify({
        apps: [
          {
            name: 'a',
            script: app('prints.js'),
            env: { CUSTOM: 'plain' },
            env_production: { CUSTOM: 'prod' },
          },
          { name: 'b', script: app('prints.js') },
        ],
      }),
    );
    await pm.ok('start', file, '--env', 'production', '--only', 'a');
    expect(await names()).toEqual(['a']);
    await until('the overlay arrived', () => pm.file('logs/a-out.log').includes('env prod'));
  });

  test('--env on a second start, a restart and a reload changes the values', async () => {
    const file = write(
      'eco.json',
      JSON.stringify({
        apps: [
          {
            name: 'a',
            script: app('prints.js'),
            env: { CUSTOM: 'plain', KEPT: 'kept' },
            env_production: { CUSTOM: 'prod' },
            env_staging: { CUSTOM: 'stage' },
          },
        ],
        deploy: { staging: { env: { CUSTOM: 'deployed', KEPT: 'deployed' } } },
      }),
    );
    const told = () => [...pm.file('logs/a-out.log').matchAll(/^env (\S+)/gm)].map((found) => found[1]);
    const toldAfter = async (values: string[], ...args: string[]) => {
      await pm.ok(...args);
      await until('the app told', () => told().length >= values.length);
      expect(told()).toEqual(values);
      return (await pm.app('a')).pm2_env.env;
    };
    await toldAfter(['plain'], 'start', file);
    expect(await toldAfter(['plain', 'prod'], 'start', file, '--env', 'production')).toMatchObject({
      CUSTOM: 'prod',
      KEPT: 'kept',
    });
    await toldAfter(['plain', 'prod', 'plain'], 'restart', file);
    await toldAfter(['plain', 'prod', 'plain', 'prod'], 'restart', file, '--env', 'production');
    // The environment of a deployment goes over the app's, and below the overlay.
    expect(
      await toldAfter(['plain', 'prod', 'plain', 'prod', 'stage'], 'reload', file, '--env', 'staging'),
    ).toMatchObject({ CUSTOM: 'stage', KEPT: 'deployed' });
  });

  test('startOrRestart starts what is not there and restarts the rest', async () => {
    const file = (...apps: string[]) =>
      write('eco.json', JSON.stringify({ apps: apps.map((name) => ({ name, script: app('prints.js') })) }));
    await pm.ok('startOrRestart', file('a'));
    const { pid } = await pm.app('a');
    await pm.ok('startOrRestart', file('a', 'b'));
    const list = await pm.list();
    expect(list.map((entry) => [entry.name, entry.pm2_env.status, entry.pm2_env.restart_time])).toEqual([
      ['a', 'online', 1],
      ['b', 'online', 0],
    ]);
    expect(list[0]?.pid).not.toBe(pid);
  });

  test('start again restarts what runs, with the changed values', async () => {
    const file = write(
      'eco.json',
      JSON.stringify({ apps: [{ name: 'a', script: app('prints.js'), env: { CUSTOM: 'v1' } }] }),
    );
    await pm.ok('start', file);
    writeFileSync(
      file,
      JSON.stringify({
        apps: [{ name: 'a', script: app('prints.js'), env: { CUSTOM: 'v2' }, max_restarts: 5 }],
      }),
    );
    await pm.ok('start', file);
    const { pm2_env } = await pm.app('a');
    expect(pm2_env.restart_time).toBe(1);
    expect(pm2_env.max_restarts).toBe(5);
    await until('the new value arrived', () => pm.file('logs/a-out.log').includes('env v2'));
  });

  test('stop and delete act on the apps of a file', async () => {
    const file = write('eco.json', JSON.stringify({ apps: [{ name: 'a', script: app('prints.js') }] }));
    await pm.ok('start', file);
    await pm.ok('start', app('loop.py'));
    await pm.ok('stop', file);
    expect((await pm.app('a')).pm2_env.status).toBe('stopped');
    await pm.ok('delete', file);
    expect(await names()).toEqual(['loop']);
  });

  test('instances in fork mode get numbers', async () => {
    const file = write(
      'eco.json',
      JSON.stringify({ apps: [{ name: 'many', script: app('prints.js'), instances: 3, exec_mode: 'fork' }] }),
    );
    await pm.ok('start', file);
    const list = await pm.list();
    expect(list.map((entry) => entry.pm2_env.NODE_APP_INSTANCE)).toEqual([0, 1, 2]);
    expect(list.map((entry) => path.basename(entry.pm2_env.pm_out_log_path))).toEqual([
      'many-out-0.log',
      'many-out-1.log',
      'many-out-2.log',
    ]);
  });
});

describe('bad files', () => {
  test('a file that is not there', async () => {
    const { code, stderr } = await pm.run('start', 'missing.json');
    expect(code).toBe(1);
    expect(stderr).toContain('File missing.json not found');
  });

  test('an attribute of the wrong type names the attribute', async () => {
    const file = write(
      'eco.json',
      JSON.stringify({ apps: [{ name: 'a', script: app('prints.js'), max_restarts: 'many' }] }),
    );
    const { code, stdout, stderr } = await pm.run('start', file);
    expect(code).toBe(1);
    expect(stdout + stderr).toContain('max_restarts');
    expect(await pm.list()).toEqual([]);
  });

  test('a config that throws starts nothing', async () => {
    const file = write('bad.config.js', 'module.exports = { apps: [] };\nthrow new Error("on purpose");\n');
    const { code, stdout, stderr } = await pm.run('start', file);
    expect(code).toBe(1);
    expect(stdout + stderr).toContain('on purpose');
    expect(await pm.list()).toEqual([]);
  });

  onlyOurs('broken JSON, YAML and JavaScript name file, line and reason', async () => {
    for (const [name, text, line] of [
      ['bad.json', '{ "apps": [\n  { "name": "a" "script": "x" }\n] }', 2],
      ['bad.yml', 'apps:\n  - name: a\n   script: x\n', 3],
      ['bad.config.js', 'module.exports = {\n  apps: [}\n};\n', 2],
    ] as const) {
      const { code, stderr } = await pm.run('start', write(name, text));
      expect(code, name).toBe(1);
      expect(stderr, name).toMatch(new RegExp(`${name.replaceAll('.', '\\.')}:${line}\\b`));
    }
  });

  onlyOurs('a config that never ends is given up', async () => {
    const file = write('loop.config.js', 'for (;;) {}');
    const { code, stderr } = await pm.run('start', file);
    expect(code).toBe(1);
    expect(stderr).toContain('loop.config.js');
  });
});

test('save writes what the config said', async () => {
  const file = write(
    'eco.json',
    JSON.stringify({ apps: [{ name: 'a', script: app('prints.js'), env: { CUSTOM: 'kept' } }] }),
  );
  await pm.ok('start', file);
  await pm.ok('save');
  const dump = JSON.parse(readFileSync(path.join(pm.home, 'dump.pm2'), 'utf8'));
  expect(dump[0].env.CUSTOM).toBe('kept');
});

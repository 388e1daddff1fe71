// Instances of an app: their numbers, their variables, their logs; and what of an app is left alone.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { alive } from '../lib/scratch.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager(undefined, { MY_SECRET: 'hidden', OTHER: 'seen' });
});
afterEach(() => pm.dispose());

const script = path.join(apps, 'prints.js');
const config = (...list: object[]) => {
  const file = path.join(pm.dir, 'eco.json');
  writeFileSync(file, JSON.stringify({ apps: list.map((app) => ({ script, ...app })) }));
  return file;
};
const values = async (key: string) => (await pm.list()).map((entry) => entry.pm2_env[key]);
const environment = (pid: number) => readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');

describe('numbers', () => {
  test('each instance has a number and a counter, and free numbers are used again', async () => {
    await pm.ok(
      'start',
      config({
        name: 'app',
        instances: 2,
        exec_mode: 'fork',
        increment_var: 'PORT',
        instance_var: 'WORKER',
        env: { PORT: 3000 },
      }),
    );
    expect(await values('WORKER')).toEqual([0, 1]);
    expect(await values('PORT')).toEqual([3000, 3001]);
    expect(await values('NODE_APP_INSTANCE')).toEqual([undefined, undefined]);
    await pm.ok('scale', 'app', '4');
    expect(await values('WORKER')).toEqual([0, 1, 2, 3]);
    expect(await values('PORT')).toEqual([3000, 3001, 3002, 3003]);
    await pm.ok('scale', 'app', '2');
    expect(await values('WORKER')).toEqual([2, 3]);
    await pm.ok('scale', 'app', '+2');
    expect(await values('WORKER')).toEqual([2, 3, 0, 1]);
    const [entry] = await pm.list();
    expect(environment(entry?.pid ?? 0)).toEqual(expect.arrayContaining(['WORKER=2', 'PORT=3002']));
  });

  test('append_env_to_name makes two apps of one', async () => {
    const file = config({
      name: 'web',
      append_env_to_name: true,
      env_dev: { CUSTOM: 'dev' },
      env_prod: { CUSTOM: 'prod' },
    });
    await pm.ok('start', file, '--env', 'dev');
    await pm.ok('start', file, '--env', 'prod');
    expect((await pm.list()).map((entry) => [entry.name, entry.pm2_env.CUSTOM])).toEqual([
      ['web-dev', 'dev'],
      ['web-prod', 'prod'],
    ]);
  });
});

describe('variables', () => {
  test('filter_env keeps variables of the caller from an app', async () => {
    await pm.ok('start', config({ name: 'list', filter_env: ['SECRET'] }));
    await pm.ok('start', script, '--name', 'word', '--filter-env', 'MY_SECRET');
    for (const name of ['list', 'word']) {
      const seen = environment((await pm.app(name)).pid);
      expect(seen).toContain('OTHER=seen');
      expect(seen.filter((variable) => variable.startsWith('MY_SECRET='))).toEqual([]);
    }
  });
});

describe('logs', () => {
  test('instances have files of their own, or one for all', async () => {
    await pm.ok(
      'start',
      config(
        { name: 'own', instances: 2, exec_mode: 'fork' },
        { name: 'one', instances: 2, exec_mode: 'fork', merge_logs: true },
      ),
    );
    const started = (file: string) => pm.file('logs', file).match(/^to stdout$/gm)?.length ?? 0;
    await until('both wrote to one file', () => started('one-out.log') === 2);
    const ids = (await pm.list()).filter((entry) => entry.name === 'own').map((entry) => entry.pm_id);
    for (const id of ids) await until('each has a file', () => started(`own-out-${id}.log`) === 1);
  });

  test('disabled logs are neither stored nor told', async () => {
    const talks = path.join(pm.dir, 'talks.js');
    writeFileSync(talks, 'setInterval(() => console.log("still here"), 50);\n');
    await pm.ok(
      'start',
      config({ name: 'quiet', script: talks, disable_logs: true }, { name: 'loud', script: talks }),
    );
    const following = pm.follow('logs');
    await until('the other is told', () => following.text().includes('still here'));
    await until('the other is stored', () => pm.file('logs/loud-out.log').includes('still here'));
    following.end();
    expect(following.text()).not.toMatch(/quiet\s+\| still/);
    const stored = path.join(pm.home, 'logs/quiet-out.log');
    expect(existsSync(stored) ? readFileSync(stored, 'utf8') : '').toBe('');
  });

  test('dates in the tokens of day.js, in JSON too', async () => {
    const format = 'ddd D MMM YYYY, h:mm:ss.SSS a [at] Z';
    const date = /\w{3} \d{1,2} \w{3} \d{4}, \d{1,2}:\d\d:\d\d\.\d{3} [ap]m at [+-]\d\d:\d\d/;
    await pm.ok(
      'start',
      config(
        { name: 'dated', log_date_format: format },
        { name: 'json', log_date_format: format, log_type: 'json' },
      ),
    );
    const dated = await until('dated lines', () => pm.file('logs/dated-out.log'));
    expect(dated.split('\n')[0]).toMatch(new RegExp(`^${date.source}: to stdout$`));
    const json = await until('an object', () => pm.file('logs/json-out.log'));
    const object = JSON.parse(json.split('\n')[0] ?? '');
    expect(object).toMatchObject({ type: 'out', app_name: 'json' });
    expect(object.timestamp).toMatch(new RegExp(`^${date.source}$`));
  });
});

describe('stopping', () => {
  test('treekill off leaves the children of an app alone', async () => {
    const parent = path.join(pm.dir, 'parent.sh');
    writeFileSync(parent, 'sleep 1000 &\necho "child $!"\nwait\n');
    await pm.ok('start', parent, '--no-treekill');
    const child = Number(
      (await until('the child is there', () => /child (\d+)/.exec(pm.file('logs/parent-out.log'))))[1],
    );
    try {
      await pm.ok('stop', 'parent');
      await pm.status('parent', 'stopped');
      expect(alive(child)).toBe(true);
    } finally {
      process.kill(child, 'SIGKILL');
    }
  });
});

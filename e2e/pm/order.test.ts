// `--wait` and `depends_on`: ours alone.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const script = path.join(apps, 'readiness.cjs');
const eco = (...list: object[]) => {
  const file = path.join(pm.dir, 'eco.json');
  writeFileSync(file, JSON.stringify({ apps: list.map((entry) => ({ script, ...entry })) }));
  return file;
};
const word = () => path.join(pm.dir, 'ready');
const says = (name: string, more = {}) => ({
  name,
  wait_ready: true,
  listen_timeout: 50,
  env: { READY_FILE: word() },
  ...more,
});

describe('start --wait', () => {
  onlyOurs('returns when all are ready, not before', async () => {
    const port = await freePort();
    await pm.ok('ping');
    const file = eco(
      says('said'),
      { name: 'web', env: { PORT: port }, health: { http: '/live', interval: 100 } },
      { name: 'plain' },
      { name: 'later', autostart: false },
    );
    let done = false;
    const started = pm.run('start', file, '--wait').finally(() => {
      done = true;
    });
    await until('all but one are ready', async () => {
      const { stdout } = await pm.run('jlist');
      return (
        /"name":"plain"/.test(stdout) &&
        JSON.parse(stdout).every((p: { pid: number; name: string }) => p.pid > 0 || p.name === 'later')
      );
    });
    expect(done).toBe(false);
    writeFileSync(word(), '');
    const { code, stdout } = await started;
    expect(code).toBe(0);
    for (const name of ['said', 'web', 'plain'])
      expect(stdout).toMatch(new RegExp(`\\[${name}\\]\\(\\d\\) ready`));
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(200);
  });

  onlyOurs('fails with the reason when one will not be', async () => {
    const crash = { name: 'crash', env: { CRASH_AFTER: '50' }, autorestart: false };
    const stopped = await pm.run('start', eco(crash), '--wait');
    expect(stopped.code).toBe(1);
    expect(stopped.stderr).toContain('crash(0) is stopped, its last exit code is 7');
    const late = await pm.run('start', eco(says('late')), '--wait-timeout', '300ms');
    expect(late.code).toBe(1);
    expect(late.stderr).toContain('not ready in time, 0 of 1 ready after 0 s: late(1) has not said `ready`');
    const sick = {
      name: 'sick',
      health: { command: 'exit 9', interval: 100, retries: 1, on_failure: 'none' },
    };
    const { code, stderr } = await pm.run('start', eco(sick), '--wait');
    expect(code).toBe(1);
    expect(stderr).toContain('sick(2) is unhealthy: its health check ended with code 9');
  });

  onlyOurs('waits after a restart and a reload too', async () => {
    await pm.ok('start', eco({ name: 'plain' }));
    for (const verb of ['restart', 'reload'])
      expect((await pm.ok(verb, 'plain', '--wait')).stdout).toContain('[plain](0) ready');
  });

  onlyOurs('says what is wrong with the time', async () => {
    const { code, stderr } = await pm.run('start', eco({ name: 'plain' }), '--wait-timeout', 'soon');
    expect(code).toBe(1);
    expect(stderr).toContain('--wait-timeout soon is no time');
  });
});

describe('depends_on', () => {
  // Each app notes its name in one file when it begins and when it is told to end.
  const noting = path.join(apps, 'noting.cjs');
  const note = () => path.join(pm.dir, 'notes');
  const notes = () => readFileSync(note(), 'utf8').split('\n').filter(Boolean);
  const app = (name: string, ...on: string[]) => ({
    name,
    script: noting,
    ...(on.length > 0 ? { depends_on: on } : {}),
    wait_ready: true,
    env: { NOTES: note() },
  });
  const file = () => eco(app('web', 'api'), app('api', 'db', 'cache'), app('db'), app('cache'));
  const order = (seen: string[], ...names: string[]) =>
    expect(names.map((name) => seen.indexOf(name))).toEqual(
      names.map((name) => seen.indexOf(name)).sort((a, b) => a - b),
    );

  onlyOurs('starts what is needed first and waits until it is ready', async () => {
    await pm.ok('start', file());
    const seen = notes();
    expect(seen).toHaveLength(8);
    for (const dependency of ['db', 'cache']) order(seen, `ready ${dependency}`, 'begin api');
    order(seen, 'ready api', 'begin web');
    expect((await pm.list()).map((entry) => entry.pm2_env.depends_on)).toContainEqual(['db', 'cache']);
  });

  onlyOurs('stops in the reverse order; restart and resurrect keep it', async () => {
    await pm.ok('start', file());
    await pm.ok('save');
    writeFileSync(note(), '');
    await pm.ok('stop', 'all');
    let seen = notes();
    order(seen, 'end web', 'end api', 'end db');
    order(seen, 'end api', 'end cache');
    writeFileSync(note(), '');
    await pm.ok('restart', 'all');
    seen = notes();
    order(seen, 'ready db', 'begin api', 'ready api', 'begin web');
    await pm.ok('kill');
    writeFileSync(note(), '');
    await pm.ok('resurrect');
    seen = notes();
    order(seen, 'ready db', 'begin api', 'ready api', 'begin web');
  });

  onlyOurs('a dependency that does not come up keeps the rest down', async () => {
    const broken = { name: 'db', env: { CRASH_AFTER: '20' }, autorestart: false };
    const { code, stderr } = await pm.run('start', eco(app('api', 'db'), broken));
    expect(code).toBe(1);
    expect(stderr).toContain('db(0) is stopped');
    expect((await pm.list()).map((entry) => entry.name)).toEqual(['db']);
  });

  onlyOurs('circles and unknown names are errors before anything starts', async () => {
    const circle = await pm.run('start', eco(app('a', 'b'), app('b', 'c'), app('c', 'a')));
    expect(circle.code).toBe(1);
    expect(circle.stderr).toMatch(/eco.json:1:\d+: depends_on goes in a circle: a -> b -> c -> a/);
    const stranger = await pm.run('start', eco(app('a', 'nobody')));
    expect(stranger.code).toBe(1);
    expect(stranger.stderr).toContain(
      'app a depends on nobody, which is neither among these apps nor running',
    );
    expect(await pm.list()).toEqual([]);
  });

  onlyOurs('what runs already counts, and may be named in words', async () => {
    await pm.ok('start', eco(app('db')));
    await pm.ok('start', eco({ ...app('api'), depends_on: 'db' }));
    order(notes(), 'ready db', 'begin api');
  });
});
